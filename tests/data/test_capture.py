"""Captures: what is written is read again, and what is wrong is said in one sentence."""

from __future__ import annotations

import io
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from avatar_core.body import Body
from avatar_core.camera import Camera
from avatar_core.controls import Controls
from avatar_core.data.capture import Capture, CaptureCamera, CaptureError, CaptureFrame

SIZE = 12


def small_body() -> Body:
    corners = np.stack(np.meshgrid([-0.2, 0.2], [0.0, 1.0], [-0.1, 0.1]), -1).reshape(-1, 3)
    top = np.repeat((corners[:, 1:2] > 0.5).astype(float), 2, 1)
    top[:, 0] = 1 - top[:, 1]
    return Body(
        name="box",
        vertices=corners,
        faces=np.array([[0, 1, 2], [1, 3, 2], [4, 5, 6]]),
        uv=np.zeros((0, 2)),
        face_uv=np.zeros((0, 3), int),
        weights=top,
        joint_names=("root", "tip"),
        parents=np.array([-1, 0]),
        regressor=np.full((2, 8), 1 / 8),
        shapedirs=np.ones((8, 3, 2)) * 0.01,
    )


def picture(camera: int, frame: int) -> np.ndarray:
    image = np.zeros((SIZE, SIZE, 4), np.uint8)
    image[2:8, 3:9] = (10 * camera, 20 * frame, 200, 255)
    return image


def create(folder: Path, pose: float = 0.5) -> Capture:
    views = [Camera.look_at(np.array([s, 1, 3.0]), np.array([0, 0.5, 0]), 0.6, SIZE, SIZE) for s in (-1, 1)]
    return Capture.create(
        folder,
        name="box",
        licence="CC0-1.0",
        fps=24,
        cameras=[CaptureCamera("left", views[0], "train"), CaptureCamera("right", views[1], "test")],
        frames=[
            CaptureFrame(4, Controls(pose=np.full((2, 3), pose, np.float32), betas=np.ones(2)), "train"),
            CaptureFrame(9, Controls(pose=np.zeros((2, 3)), transl=np.array([0, 0, 1.0])), "test"),
        ],
        body=small_body(),
    )


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    capture = create(tmp_path / "capture")
    for camera, frame in capture.missing():
        path = capture.image_path(camera, frame)
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(picture(camera, frame)).save(path)
    return capture.folder


def test_a_capture_comes_back_as_it_was_written(folder: Path) -> None:
    capture = Capture.open(folder)
    assert [(view.name, view.split) for view in capture.cameras] == [("left", "train"), ("right", "test")]
    assert [(frame.index, frame.split) for frame in capture.frames] == [(4, "train"), (9, "test")]
    assert capture.fps == 24 and capture.licence == "CC0-1.0"
    assert capture.schema.joints == ("root", "tip") and capture.schema.betas == 2
    np.testing.assert_allclose(capture.frames[0].controls.pose, 0.5)
    np.testing.assert_allclose(capture.frames[0].controls.betas, 1)
    np.testing.assert_allclose(capture.frames[1].controls.transl, [0, 0, 1])
    np.testing.assert_allclose(capture.body.vertices, small_body().vertices)
    np.testing.assert_array_equal(capture.image(1, 1), picture(1, 1))


def test_creating_again_goes_on_with_what_is_missing(folder: Path) -> None:
    path = Capture.open(folder).image_path(1, 0)
    path.write_bytes(path.read_bytes()[:-30])
    assert create(folder).missing() == [(1, 0)]


def test_another_capture_is_not_written_over(folder: Path) -> None:
    before = (folder / "capture.json").read_bytes()
    with pytest.raises(CaptureError, match="holds another capture"):
        create(folder, pose=0.6)
    assert (folder / "capture.json").read_bytes() == before


def first_camera(key: str, value: Any) -> Callable[[dict[str, Any]], Any]:
    return lambda data: data["cameras"][0].update({key: value})


def first_frame(key: str, value: Any) -> Callable[[dict[str, Any]], Any]:
    return lambda data: data["frames"][0].update({key: value})


def top(key: str, value: Any) -> Callable[[dict[str, Any]], Any]:
    return lambda data: data.update({key: value})


SKEWED = [1, 0.2, 0, 0, 0, 1, 0, 0, 0, 0, 1, 3, 0, 0, 0, 1]
WRONG = {
    "rotation": (first_camera("world_to_camera", SKEWED), "camera 0 \\('left'\\).*rotation"),
    "camera NaN": (first_camera("K", [float("nan")] * 9), "camera 0.*finite"),
    "camera path": (first_camera("name", "../../etc"), "camera 0: 'name'"),
    "camera dots": (first_camera("name", ".."), "camera 0: 'name'"),
    "camera twice": (first_camera("name", "Right"), "'right' appears twice"),
    "camera size": (first_camera("width", 10**9), "camera 0.*pixels a side"),
    "camera split": (first_camera("split", "val"), "camera 0: 'split'"),
    "camera kind": (top("cameras", [3]), "camera 0 must be an object"),
    "no cameras": (top("cameras", []), "'cameras' must be a list"),
    "too many frames": (lambda data: data.update(frames=[{}] * 1_000_001), "'frames' must be a list"),
    "pose length": (
        first_frame("pose", [[0, 0, 0]] * 3),
        "frame 0: control 'pose' must have shape \\(2, 3\\)",
    ),
    "pose NaN": (first_frame("pose", [[float("nan")] * 3] * 2), "frame 0: control 'pose' holds NaN"),
    "no pose": (first_frame("pose", []), "frame 0 has no 'pose'"),
    "pose huge": (first_frame("pose", [[10**400, 0, 0]] * 2), "frame 0: .*too large"),
    "camera huge": (first_camera("K", [10**400] * 9), "camera 0 .*too large"),
    "pose in text": (first_frame("pose", "up"), "frame 0: control 'pose' must hold numbers"),
    "millimetres": (first_frame("transl", [0, 3e6, 0]), "frame 0 holds values beyond"),
    "betas": (first_frame("betas", [0] * 9), "frame 0: control 'betas'"),
    "frame twice": (first_frame("index", 9), "frame index 9 appears twice"),
    "frame index": (first_frame("index", -1), "frame 0: 'index'"),
    "foreign": (top("format", "nerf"), "is no capture: its 'format'"),
    "newer": (top("version", 2), "version 2, newer than this program knows"),
    "version": (top("version", "1"), "'version' must be a whole number"),
    "colour": (top("colour_space", "linear"), "'colour_space' must be 'srgb'"),
    "fps": (top("fps", 0), "'fps'"),
}


@pytest.mark.parametrize("case", WRONG)
def test_a_wrong_entry_is_named(folder: Path, case: str) -> None:
    change, message = WRONG[case]
    path = folder / "capture.json"
    data = json.loads(path.read_text())
    change(data)
    path.write_text(json.dumps(data))
    with pytest.raises(CaptureError, match=message) as caught:
        Capture.open(folder)
    assert str(path) in str(caught.value) and "\n" not in str(caught.value)


def as_png(image: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "PNG")
    return buffer.getvalue()


PICTURES = {
    "missing": (lambda path: path.unlink(), "is missing"),
    "truncated": (lambda path: path.write_bytes(path.read_bytes()[:60]), "is damaged"),
    "no picture": (lambda path: path.write_bytes(b"hello"), "is damaged"),
    "no mask": (
        lambda path: path.write_bytes(as_png(picture(0, 0)[..., :3])),
        "must be 12x12 RGBA .* got 12x12 RGB",
    ),
    "size": (lambda path: path.write_bytes(as_png(picture(0, 0)[:9])), "must be 12x12 RGBA .* got 12x9"),
}


@pytest.mark.parametrize("case", PICTURES)
def test_a_bad_picture_is_named(folder: Path, case: str) -> None:
    change, message = PICTURES[case]
    capture = Capture.open(folder)
    change(capture.image_path(0, 1))
    with pytest.raises(CaptureError, match=message) as caught:
        Capture.open(folder)
    assert str(folder / "images" / "left" / "000009.png") in str(caught.value)
    with pytest.raises(CaptureError):
        capture.image(0, 1)


def test_files_that_are_no_capture(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(CaptureError, match=r"has no capture\.json"):
        Capture.open(tmp_path)
    with pytest.raises(CaptureError, match=r"body\.npz holds no usable body"):
        shutil.copy(folder / "capture.json", folder / "body.npz")
        Capture.open(folder)
    (folder / "capture.json").write_text("{" * 10)
    with pytest.raises(CaptureError, match="not valid JSON"):
        Capture.open(folder)
    (folder / "capture.json").write_text("[" * 100_000)
    with pytest.raises(CaptureError):
        Capture.open(folder)
