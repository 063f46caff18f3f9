"""Neural Actor's folder layout: what is wrong is named with file and line, or corrected and said."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from avatar_core.data.neural_actor import LayoutError, NeuralActorFolder
from avatar_core.errors import AvatarError

FIXTURE = Path(__file__).parent / "reference" / "na_fixture"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return Path(shutil.copytree(FIXTURE, tmp_path / "actor"))


def rewrite(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))


def edit(path: Path, **changes: object) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def message(folder: Path, size: tuple[int, int] | None = None) -> str:
    with pytest.raises(AvatarError) as caught:
        NeuralActorFolder.open(folder, size)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_intrinsics_in_every_written_form(folder: Path) -> None:
    wanted = NeuralActorFolder.open(folder).cameras[0].K
    K = np.loadtxt(folder / "intrinsic" / "0000.txt")
    forms = {
        "3x3": "\n".join(" ".join(map(str, row)) for row in K[:3, :3]),
        "1x16": " ".join(map(str, K.ravel())),
        "size first": "96 80\n" + "\n".join(" ".join(map(str, row)) for row in K),
        "focal": f"{K[0, 0]} {K[0, 2]} {K[1, 2]} 0\n0 0 0\n1\n80 96\n",
    }
    shutil.rmtree(folder / "intrinsic")
    for name, text in forms.items():
        (folder / "intrinsics.txt").write_text(text)
        np.testing.assert_allclose(NeuralActorFolder.open(folder).cameras[0].K, wanted, err_msg=name)


def test_extrinsic_wins_over_pose(folder: Path) -> None:
    before = NeuralActorFolder.open(folder).cameras[1].world_to_camera
    (folder / "extrinsic").mkdir()
    for path in sorted((folder / "pose").iterdir()):
        np.savetxt(folder / "extrinsic" / path.name, np.linalg.inv(np.loadtxt(path))[:3])
        path.write_text("nonsense")
    np.testing.assert_allclose(NeuralActorFolder.open(folder).cameras[1].world_to_camera, before, atol=1e-9)


def test_misspelt_folder_is_used_and_said(folder: Path) -> None:
    (folder / "intrinsic").rename(folder / "intrinisc")
    (folder / "intrinsics.txt").unlink()
    data = NeuralActorFolder.open(folder)
    assert len(data.cameras) == 4 and "intrinisc is spelt wrong" in data.notes[0]


def test_without_pictures_cameras_need_a_size(folder: Path) -> None:
    shutil.rmtree(folder / "rgb")
    data = NeuralActorFolder.open(folder)
    assert not data.cameras and "cameras are left out" in data.notes[0]
    assert NeuralActorFolder.open(folder, (80, 96)).cameras[0].width == 80
    assert "another resolution" in message(folder, (40, 48))


def test_faces_in_another_order(folder: Path) -> None:
    path = folder / "uvmapping.obj"
    lines = path.read_text().splitlines()
    faces = [i for i, line in enumerate(lines) if line.startswith("f ")]
    lines[faces[0]], lines[faces[1]] = lines[faces[1]], lines[faces[0]]
    path.write_text("\n".join(lines))
    assert f"uvmapping.obj, line {faces[0] + 1}: this face is another one" in message(folder)


@pytest.mark.parametrize(
    "break_it, words",
    [
        (lambda f: (f / "tex" / "000001.png").unlink(), "2 textures for 3 frames"),
        (lambda f: (f / "rgb" / "000002" / "0003.png").unlink(), "3 pictures for 4 cameras"),
        (lambda f: rewrite(f / "canonical.obj", "v ", "v x"), "canonical.obj, line 1: 'x"),
        (lambda f: rewrite(f / "skinning_weight.txt", "0", "7"), "skinning_weight.txt, line"),
        (lambda f: rewrite(f / "pose" / "0000.txt", "2.9", "nan 2.9"), "0000.txt"),
        (lambda f: np.savetxt(f / "pose" / "0001.txt", np.diag([1, 1, 2.0, 1])), "0001.txt: the rotation"),
        (lambda f: edit(f / "transform" / "000001.json", rotation=np.eye(2).tolist()), "000001.json: 'rotation'"),
        (lambda f: edit(f / "transform" / "000000.json", joints_RT="no"), "000000.json: 'joints_RT'"),
        (lambda f: (f / "transform" / "000000.json").write_text("{"), "000000.json is not JSON"),
        (lambda f: (f / "uvmapping.obj").unlink(), "uvmapping.obj is missing"),
        (lambda f: shutil.rmtree(f / "intrinsic") or (f / "intrinsics.txt").unlink(), "no intrinsics"),
    ],
)
def test_what_is_wrong_is_named(folder: Path, break_it, words: str) -> None:  # type: ignore[no-untyped-def]
    break_it(folder)
    assert words in message(folder)


def test_background_must_be_white(folder: Path) -> None:
    path = folder / "rgb" / "000000" / "0000.png"
    image = np.asarray(Image.open(path).convert("RGB")).copy()
    Image.fromarray(np.where(image == 255, 0, image)).save(path)
    assert "the background is not white" in message(folder)
    Image.fromarray(np.where(image == 255, 253, image)).save(path)
    data = NeuralActorFolder.open(folder)
    assert "all pixels of 253 and more count as background" in data.notes[0]
    np.testing.assert_array_equal(data.picture(0, 0)[..., 3], np.where((image != 255).any(-1), 255, 0))


def test_a_picture_unlike_the_first_is_named(folder: Path) -> None:
    path = folder / "rgb" / "000001" / "0002.png"
    image = np.asarray(Image.open(path).convert("RGB")).copy()
    for other, words in (
        (np.where(image == 255, 0, image), "000001/0002.png: the background is not white"),
        (image[::2, ::2], "000001/0002.png has 40x48 pixels, others 80x96"),
    ):
        Image.fromarray(other).save(path)
        with pytest.raises(LayoutError, match=words):
            NeuralActorFolder.open(folder).picture(1, 2)


def test_picture_with_alpha_keeps_it(folder: Path) -> None:
    path = folder / "rgb" / "000000" / "0000.png"
    image = np.full((96, 80, 4), 100, np.uint8)
    Image.fromarray(image).save(path)
    np.testing.assert_array_equal(NeuralActorFolder.open(folder).picture(0, 0), image)
