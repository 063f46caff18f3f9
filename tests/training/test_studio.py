"""The studio renders what its poses say: pictures agree with the body that avatar_core poses and projects."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw

from avatar_core.body.kinematics import relative_transforms
from avatar_core.cli import main
from avatar_core.cuda.skin import skin_points
from avatar_core.data.capture import Capture, CaptureError

pytestmark = pytest.mark.skipif(find_spec("bpy") is None, reason="needs the bpy module")
REPOSITORY = Path(__file__).parents[2]
SIZE = 64
TINY = ["--resolution", str(SIZE), "--samples", "4", "--threads", "1"]


def render(output: Path, *options: str) -> Capture:
    assert main(["capture", "--output", str(output), *TINY, *options]) == 0
    return Capture.open(output)


def silhouette(capture: Capture, camera: int, frame: int) -> np.ndarray:
    """[H, W] share of each pixel that the posed body covers, by projecting its triangles."""
    body, controls, view = capture.body, capture.frames[frame].controls, capture.cameras[camera].camera
    transforms = relative_transforms(
        torch.tensor(controls.pose), torch.tensor(body.joints()), body.parents, torch.tensor(controls.transl)
    )
    points = skin_points(torch.tensor(body.vertices), torch.tensor(body.weights), transforms).numpy()
    fine = 8
    pixels, _ = view.project(points)
    mask = Image.new("L", (view.width * fine, view.height * fine))
    draw = ImageDraw.Draw(mask)
    for corners in pixels[body.faces] * fine - 0.5:  # to the integer pixel centres of pillow
        draw.polygon([tuple(corner) for corner in corners.tolist()], fill=1)
    return np.asarray(mask, np.float64).reshape(view.height, fine, view.width, fine).mean((1, 3))


def assert_same_shape(alpha: np.ndarray, body: np.ndarray) -> None:
    """Two masks [H, W] overlap, and their centres are closer than if one counted pixels from corners."""
    assert np.minimum(alpha, body).sum() / np.maximum(alpha, body).sum() > 0.85
    centres = [np.stack(np.indices(m.shape)).reshape(2, -1) @ m.ravel() / m.sum() for m in (alpha, body)]
    assert np.abs(centres[0] - centres[1]).max() < 0.2


@pytest.fixture(scope="module")
def studio(tmp_path_factory: pytest.TempPathFactory) -> Capture:
    folder = tmp_path_factory.mktemp("studio")
    scene = ["--save-blend", str(folder / "studio.blend")]
    return render(folder / "capture", "--cameras", "2", "--frames", "2", "--motion", "wave,squat", *scene)


def test_the_posed_body_is_under_the_clothes(studio: Capture) -> None:
    for camera in range(2):
        for frame in range(2):
            alpha, body = studio.image(camera, frame)[..., 3] / 255, silhouette(studio, camera, frame)
            assert (body * (1 - alpha)).sum() < 0.05 * body.sum()
            assert alpha.sum() < 1.4 * body.sum()


def test_the_person_fills_the_picture_and_nothing_is_cut_off(studio: Capture) -> None:
    for camera in range(2):
        alpha = np.max([studio.image(camera, frame)[..., 3] for frame in range(2)], 0)
        assert alpha[[0, -1]].max() < 128 and not alpha[:, [0, -1]].any()
        assert np.ptp(np.flatnonzero(alpha.any(1))) > 0.8 * SIZE


def test_cameras_and_poses_are_held_out(studio: Capture) -> None:
    assert [view.split for view in studio.cameras].count("test") == 1
    assert [frame.split for frame in studio.frames] == ["train", "test"]


def test_its_own_blend_file_is_an_ordinary_rigged_character(studio: Capture, tmp_path: Path) -> None:
    blend = studio.folder.parent / "studio.blend"
    again = render(tmp_path / "again", "--cameras", "2", "--frames", "2", "--blend", str(blend))
    assert set(again.schema.joints) == set(studio.schema.joints)
    for camera in range(2):  # the clothes are part of the body that is read from the file
        assert_same_shape(again.image(camera, 1)[..., 3] / 255, silhouette(again, camera, 1))


def test_a_user_character(tmp_path: Path) -> None:
    blend = tmp_path / "user.blend"
    script = Path(__file__).with_name("user_character.py")
    subprocess.run([sys.executable, str(script), str(blend)], check=True, capture_output=True, timeout=120)
    capture = render(tmp_path / "capture", "--cameras", "3", "--frames", "3", "--blend", str(blend))
    assert capture.schema.joints == ("low", "middle", "high")
    assert capture.body.joints()[0] == pytest.approx([0.3, 0.1, 0.2], abs=1e-4)  # y up, scaled, in metres
    for camera in range(3):
        for frame in range(3):
            assert_same_shape(capture.image(camera, frame)[..., 3] / 255, silhouette(capture, camera, frame))
    apart = np.abs(capture.image(0, 0)[..., 3].astype(float) - capture.image(0, 2)[..., 3])
    assert apart.mean() > 10  # it moves


def test_goes_on_after_being_killed(tmp_path: Path) -> None:
    output = tmp_path / "capture"
    options = ["--cameras", "3", "--frames", "4", "--motion", "walk"]
    command = [sys.executable, "-m", "avatar_core.cli", "capture", "--output", str(output), *TINY, *options]
    child = subprocess.Popen(command, cwd=REPOSITORY, start_new_session=True, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 120
    while len(list(output.glob("images/*/[0-9]*.png"))) < 2 and time.monotonic() < deadline:
        time.sleep(0.02)
    os.killpg(child.pid, signal.SIGKILL)
    child.wait()
    done = {path: path.stat().st_mtime_ns for path in output.glob("images/*/[0-9]*.png")}
    assert 2 <= len(done) < 12
    with pytest.raises(CaptureError, match="is missing"):
        Capture.open(output)
    render(output, *options)
    assert all(path.stat().st_mtime_ns == when for path, when in done.items())
    assert sorted(path.name for path in output.iterdir()) == ["body.npz", "capture.json", "images"]
    assert len([path for path in output.glob("images/*/*")]) == 12


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--blend", "nowhere.blend"], "is no file"),
        (["--blend", __file__], "cannot be opened"),
        (["--blender", "/nowhere/blender"], "cannot be started"),
        (["--motion", "moonwalk"], "no motion 'moonwalk'"),
        (["--cameras", "0"], "--cameras must be"),
    ],
)
def test_what_cannot_be_done_is_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], options: list[str], message: str
) -> None:
    few = ["--cameras", "1", "--frames", "1"]
    assert main(["capture", "--output", str(tmp_path / "out"), *TINY, *few, *options]) == 2
    assert message in capsys.readouterr().err
