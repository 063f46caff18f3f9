"""Multiface's folder and what is prepared of it: what is wrong is named with file and line."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from avatar_core.cli import main
from avatar_core.data.multiface import Identity, Moment, read_krt
from avatar_core.data.multiface_capture import MultifaceCapture
from avatar_core.errors import AvatarError
from avatar_core.methods.npva.importer import read_positions, upright

SIDE, SIZE = 12, (20, 30)  # vertices a side of the mesh; width and height of pictures
FRAMES = ("E1 000000", "E1 000003", "E2 000006")
TURN = np.array([[0, 0, 1], [0, 1, 0], [-1, 0, 0]], float)  # head to world
SHIFT = np.array([5.0, 6.0, 7.0])
KRT = "{name}\n40 0 10\n0 40 15\n0 0 1\n0 0 0 0 0\n0 0 -1 {x}\n0 1 0 0\n1 0 0 400\n\n"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A slope over the unit square, before two cameras."""
    v, u = np.mgrid[0:SIDE, 0:SIDE].reshape(2, -1) / (SIDE - 1)
    cells = [(SIDE * r + c, SIDE * (r + 1) + c) for r in range(SIDE - 1) for c in range(SIDE - 1)]
    faces = [f for a, b in cells for f in ((a, b, a + 1), (b, b + 1, a + 1))]
    for number, line in enumerate(FRAMES):
        sequence, frame = line.split()
        head = np.stack([100 * u - 50, 100 * v - 50, 20 * u + number], 1)
        stem = tmp_path / "tracked_mesh" / sequence / frame
        stem.parent.mkdir(parents=True, exist_ok=True)
        rows = [f"v {x} {y} {z}" for x, y, z in head @ TURN.T + SHIFT] + [f"vt {a} {b}" for a, b in zip(u, v)]
        rows += ["f " + " ".join(f"{k + 1}/{k + 1}" for k in face) for face in faces]
        stem.with_suffix(".obj").write_text("\n".join(rows))
        head.astype("<f4").tofile(stem.with_suffix(".bin"))
        np.savetxt(f"{stem}_transform.txt", np.concatenate([TURN, SHIFT[:, None]], 1))
        for camera in ("400001", "400002"):
            path = tmp_path / "images" / sequence / camera / f"{frame}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.new("RGB", SIZE, (number, 2, 3)).save(path)
    (tmp_path / "KRT").write_text(KRT.format(name="400001", x=0) + KRT.format(name="400002", x=3))
    (tmp_path / "frame_list.txt").write_text("\n".join(FRAMES))
    return tmp_path


def message(action: Callable[[], object]) -> str:
    with pytest.raises(AvatarError) as caught:
        action()
    assert "\n" not in str(caught.value)
    return str(caught.value)


def edit(path: Path, line: int, text: str) -> Path:
    lines = path.read_text().splitlines()
    lines[line - 1] = text
    path.write_text("\n".join(lines))
    return path


def test_what_is_read(folder: Path) -> None:
    identity = Identity.open(folder)
    moment = Moment("E2", "000006")
    assert identity.cameras == ("400001", "400002") and identity.size == SIZE and identity.moments[2] == moment
    packed = identity.vertices(moment)
    (folder / "tracked_mesh" / "E2" / "000006.bin").unlink()
    np.testing.assert_allclose(identity.vertices(moment), packed, atol=1e-4)  # of the OBJ file, moved back
    assert (identity.image(moment, "400002", (10, 15)) == (2, 2, 3)).all()
    assert identity.expressions() is None


def test_preparation(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["prepare-head", str(folder)]) == 0
    identity, moment = Identity.open(folder), Moment("E1", "000003")
    place = np.linspace(0, 1, 256)
    maps = np.load(identity.map_path(moment))  # indexed by u, then v
    expected = np.stack(np.broadcast_arrays(100 * place[:, None] - 50, 100 * place - 50, 20 * place[:, None] + 1), -1)
    np.testing.assert_allclose(maps, expected, atol=1e-3)
    mean, deviation = read_positions(folder)
    assert deviation == pytest.approx((2 / 3 / 3) ** 0.5, rel=1e-3)  # z is 0, 1 and 2 more
    row_of_top = upright(mean.new_tensor(maps).permute(2, 0, 1))[1, 0]
    assert (row_of_top > 49.9).all()  # v = 1
    mask, depth = identity.mask(moment, "400001"), identity.depth(moment, "400001")
    assert 0.1 < mask.mean() < 0.9 and ((depth > 0) == mask).all()
    centre = depth[SIZE[1] // 2, SIZE[0] // 2]
    local = (identity.vertices(moment) @ TURN.T + SHIFT) @ np.array([[0, 0, -1], [0, 1, 0], [1, 0, 0]]).T + (0, 0, 400)
    assert local[:, 2].min() < centre < local[:, 2].max()
    before = identity.mask_path(moment, "400001").stat().st_mtime_ns
    assert main(["prepare-head", str(folder)]) == 0
    assert identity.mask_path(moment, "400001").stat().st_mtime_ns == before


@pytest.mark.parametrize(
    ("line", "text", "words"),
    [
        (10, "other name", "KRT, line 10: 'other name' is no name"),
        (10, "400009", "KRT has no camera '400002'"),
        (10, "400001", "KRT, line 10: camera '400001' is there twice"),
        (11, "1 2", "KRT, line 11: needs 3 numbers"),
        (11, "-4 0 1", "KRT, line 11: K of '400002' needs positive"),
        (15, "5 0 -1 0", "KRT, line 15: the first three columns are no rotation"),
        (17, "", "KRT, line 10: camera '400002' has 6 lines of 7"),
    ],
)
def test_wrong_cameras(folder: Path, line: int, text: str, words: str) -> None:
    edit(folder / "KRT", line, text)
    assert words in message(lambda: Identity.open(folder))


def test_wrong_lists_and_files(folder: Path) -> None:
    frames = folder / "frame_list.txt"
    edit(frames, 2, "E1 000099")
    assert "frame_list.txt, frame 2 (E1 000099)" in message(lambda: Identity.open(folder))
    edit(frames, 2, "../E1 000003")
    assert "line 2: '../E1' is no name" in message(lambda: Identity.open(folder))
    edit(frames, 2, "E1")
    assert "line 2: must be 'SEQUENCE FRAME'" in message(lambda: Identity.open(folder))
    edit(frames, 2, "E1 000003")
    (folder / "images" / "E1" / "400002" / "000003.png").unlink()
    assert "000003.png is missing" in message(lambda: Identity.open(folder))


def test_wrong_meshes(folder: Path) -> None:
    identity, stem = Identity.open(folder), folder / "tracked_mesh" / "E2" / "000006"
    packed = np.fromfile(stem.with_suffix(".bin"), "<f4")
    packed[:-3].tofile(stem.with_suffix(".bin"))
    moment = identity.moments[2]
    assert "another topology" in message(lambda: identity.vertices(moment))
    packed[31] = 5e4
    packed.tofile(stem.with_suffix(".bin"))
    assert "000006.bin, vertex 10: the vertex" in message(lambda: identity.vertices(moment))
    stem.with_suffix(".bin").unlink()
    mesh, count = stem.with_suffix(".obj"), SIDE * SIDE
    edit(mesh, 2 * count + 1, "f 1/1 2/2 3/3")
    assert "not the topology of" in message(lambda: identity.vertices(moment))
    edit(mesh, 2 * count + 1, "f 1/1 2/2")
    assert f"line {2 * count + 1}: a face must be a triangle" in message(lambda: identity.vertices(moment))
    edit(mesh, 7, "v 9e9 0 0")
    edit(mesh, 2 * count + 1, "f 1/1 2/2 3/3")
    assert "000006.obj, line 7: the vertex" in message(lambda: identity.vertices(moment))


def test_empty_masks(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    edit(folder / "KRT", 8, "1 0 0 -400")  # the head is behind the camera
    assert main(["prepare-head", str(folder)]) == 2
    assert "camera '400001' sees nothing of the head in E1 000000" in capsys.readouterr().err
    identity = Identity.open(folder)
    path = identity.mask_path(identity.moments[0], "400002")
    path.parent.mkdir(parents=True)
    np.save(path, np.zeros((SIZE[1], SIZE[0]), bool))
    assert "is empty: camera '400002'" in message(lambda: identity.mask(identity.moments[0], "400002"))


def _lacks_a_camera(folder: Path) -> None:
    (folder / "KRT").write_text(KRT.format(name="400001", x=0))


def _changes_topology(folder: Path) -> None:
    path = folder / "tracked_mesh" / "E1" / "000003.bin"
    path.write_bytes(path.read_bytes()[:-12])


def _strays(folder: Path) -> None:
    path = folder / "tracked_mesh" / "E2" / "000006.bin"
    vertices = np.fromfile(path, "<f4")
    vertices[4] = np.inf
    vertices.tofile(path)


def _names_a_missing_frame(folder: Path) -> None:
    edit(folder / "frame_list.txt", 3, "E3 000001")


def _names_no_frame(folder: Path) -> None:
    (folder / "frame_list.txt").write_text("\n\n")


def _has_no_texture_coordinates(folder: Path) -> None:
    path = folder / "tracked_mesh" / "E1" / "000000.obj"
    path.write_text(re.sub(r"(\d+)/\d+", r"\1", path.read_text()))


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (_lacks_a_camera, "KRT has no camera '400002'"),
        (_changes_topology, "000003.bin has 1716 bytes, not those of 144 vertices"),
        (_strays, "000006.bin, vertex 1: the vertex"),
        (_names_a_missing_frame, "frame_list.txt, frame 3 (E3 000001)"),
        (_names_no_frame, "frame_list.txt names no frame"),
        (_has_no_texture_coordinates, "000000.obj has no texture coordinates"),
    ],
)
def test_preparation_refuses(
    folder: Path, damage: Callable[[Path], None], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """In one sentence, and leaves no mean of some frames behind."""
    damage(folder)
    assert main(["prepare-head", str(folder)]) == 2
    told = capsys.readouterr().err
    assert words in told and "Traceback" not in told
    assert not (folder / "gendir" / "posMean.npy").exists()


def test_what_is_held_out_must_be_there(folder: Path) -> None:
    (folder / "test_cameras.txt").write_text("400009\n")
    assert "test_cameras.txt: there is no camera '400009'" in message(lambda: MultifaceCapture.open(folder))
    (folder / "test_cameras.txt").unlink()
    listed = folder / "mine.txt"
    listed.write_text("E1 000003\nE9 000000\n")
    assert "mine.txt, frame 2: " in message(lambda: MultifaceCapture.open(folder, listed))
    listed.unlink()
    assert "mine.txt is missing" in message(lambda: MultifaceCapture.open(folder, listed))


def test_depth_maps_are_not_trusted(folder: Path) -> None:
    identity = Identity.open(folder)
    path = identity.depth_path(identity.moments[0], "400001")
    path.parent.mkdir(parents=True)
    good = {"data": np.ones(1, np.float32), "coords": np.zeros((3, 1), np.uint8), "shape": (SIZE[1], SIZE[0], 1)}
    np.savez(path, **good)
    assert identity.depth(identity.moments[0], "400001")[0, 0] == 1000
    for change in ({"coords": np.full((3, 1), 99)}, {"shape": (9, 9, 1)}, {"data": np.array([None])}):
        np.savez(path, **(good | change))
        assert "000000.npz" in message(lambda: identity.depth(identity.moments[0], "400001"))


def test_krt_of_several_cameras(folder: Path) -> None:
    found = read_krt(folder / "KRT")
    assert list(found) == ["400001", "400002"] and found["400002"].view[0, 3] == 3 and found["400001"].K[0, 0] == 40
