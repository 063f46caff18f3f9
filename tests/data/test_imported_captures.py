"""Folders in published layouts become captures that show what they showed; what is wrong in them is named."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from scipy.spatial.transform import Rotation

from avatar_core.body import Body, load_body
from avatar_core.body.kinematics import relative_transforms
from avatar_core.camera import Camera
from avatar_core.cli import main
from avatar_core.controls import Controls
from avatar_core.cuda.skin import skin_points
from avatar_core.data.capture import Capture
from avatar_core.data.easymocap import EasyMocapFolder
from avatar_core.data.layout import LayoutError

NEURAL_ACTOR = Path(__file__).parent / "reference" / "na_fixture"
WIDTH, HEIGHT = 40, 48
Z_UP = np.array([[1.0, 0, 0], [0, 0, -1], [0, 1, 0]])  # our world to one whose z is up


@pytest.fixture(scope="module")
def body() -> Body:
    return load_body()


@pytest.fixture(scope="module")
def poses(body: Body) -> list[Controls]:
    """Turned, shifted, bent and heavier."""
    random = np.random.default_rng(4)
    betas = np.zeros(body.shapedirs.shape[2], np.float32)
    betas[:2] = 1.5, -1
    found = []
    for _ in range(2):
        pose = (0.3 * random.standard_normal((24, 3))).astype(np.float32)
        pose[0] = 0.4, 1.7, -0.3
        found.append(Controls(pose=pose, transl=np.array([0.3, 0.9, -0.2], np.float32), betas=betas))
    return found


CAMERAS = {
    name: Camera.look_at(np.array(place), np.array([0.2, 0.9, 0]), 0.8, WIDTH, HEIGHT)
    for name, place in (("1", [0, 1.2, 3.1]), ("2", [2.8, 0.7, 1.0]))
}


@pytest.fixture
def tracked(body: Body, poses: list[Controls], tmp_path: Path) -> Path:
    """A folder as EasyMocap leaves it: OpenCV's YAML, z up, the body turned about its origin."""
    root = tmp_path / "tracked"
    matrices: dict[str, dict[str, np.ndarray]] = {"intri": {}, "extri": {}}
    for name, camera in CAMERAS.items():
        K, view = camera.K.copy(), camera.world_to_camera
        K[:2, 2] -= 0.5
        matrices["intri"] |= {f"K_{name}": K, f"dist_{name}": np.zeros((1, 5))}
        turn = view[:3, :3] @ Z_UP.T
        matrices["extri"][f"R_{name}"] = Rotation.from_matrix(turn).as_rotvec()[:, None]
        matrices["extri"] |= {f"Rot_{name}": turn, f"T_{name}": view[:3, 3:]}
    for file, entries in matrices.items():
        root.mkdir(exist_ok=True)
        (root / f"{file}.yml").write_text(_opencv_yaml(list(CAMERAS), entries))
    for number, controls in enumerate(poses):
        pelvis = body.joints(controls.betas)[0]
        turn = Rotation.from_rotvec(controls.pose[0]).as_matrix()
        translation = controls.transl + pelvis - turn @ pelvis  # about the origin instead of the pelvis
        person = {
            "id": 0,
            "Rh": [Rotation.from_matrix(Z_UP @ turn).as_rotvec().tolist()],
            "Th": [(Z_UP @ translation).tolist()],
            "poses": [[0.0] * 3 + controls.pose[1:].ravel().tolist()],
            "shapes": [controls.betas.tolist()],
        }
        _write(root / "output" / "smpl" / f"{number:06d}.json", json.dumps([person]).encode())
        for name, camera in CAMERAS.items():
            picture, mask = np.full((HEIGHT, WIDTH, 3), 90, np.uint8), np.zeros((HEIGHT, WIDTH), np.uint8)
            mask[tuple(_pixels(body, controls, camera).T[::-1])] = 1
            for kind, image in (("images", picture), ("mask", mask)):
                path = root / kind / name / f"{number:06d}.png"
                path.parent.mkdir(parents=True, exist_ok=True)
                Image.fromarray(image).save(path)
    return root


def _write(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)


def _opencv_yaml(names: list[str], entries: dict[str, np.ndarray]) -> str:
    lines = ["%YAML:1.0", "---", "names:", *(f'   - "{name}"' for name in names)]
    for name, value in entries.items():
        rows, columns = value.shape
        data = ", ".join(f"{number:.16g}" if number % 1 else f"{number:.0f}." for number in value.ravel())
        lines += [f"{name}: !!opencv-matrix", f"   rows: {rows}", f"   cols: {columns}", "   dt: d"]
        lines.append(f"   data: [ {data} ]")
    return "\n".join(lines) + "\n"


def _pixels(body: Body, controls: Controls, camera: Camera) -> np.ndarray:
    """[V, 2] whole pixels that the posed vertices fall on."""
    return np.floor(camera.project(_posed(body, controls))[0]).astype(int).clip(0, [WIDTH - 1, HEIGHT - 1])


def _posed(body: Body, controls: Controls) -> np.ndarray:
    joints, shaped = (torch.as_tensor(value(controls.betas)) for value in (body.joints, body.shaped))
    transforms = relative_transforms(
        torch.as_tensor(controls.pose), joints, tuple(body.parents.tolist()), torch.as_tensor(controls.transl)
    )
    return skin_points(shaped, torch.as_tensor(body.weights), transforms).numpy()


def test_tracked_pictures_become_a_capture(tracked: Path, body: Body, poses: list[Controls], tmp_path: Path) -> None:
    template = Path(load_body.__code__.co_filename).parents[2] / "blend_templates" / "body.npz"
    output = tmp_path / "capture"
    arguments = ["import", "easymocap", str(tracked), "--body", str(template), "--output", str(output)]
    assert main([*arguments, "--test-cameras", "2", "--test-every", "2", "--licence", "CC0-1.0"]) == 0
    capture = Capture.open(output)
    assert [(view.name, view.split) for view in capture.cameras] == [("1", "train"), ("2", "test")]
    assert [frame.split for frame in capture.frames] == ["train", "test"]
    for number, (frame, wanted) in enumerate(zip(capture.frames, poses)):
        np.testing.assert_allclose(_posed(body, frame.controls), _posed(body, wanted), atol=1e-4)
        for place, view in enumerate(capture.cameras):
            np.testing.assert_allclose(view.camera.K, CAMERAS[view.name].K, atol=1e-9)
            np.testing.assert_allclose(view.camera.world_to_camera, CAMERAS[view.name].world_to_camera, atol=1e-9)
            alpha = capture.image(place, number)[..., 3]
            x, y = _pixels(body, frame.controls, view.camera).T
            assert alpha[y, x].mean() > 250 and 0 < alpha.mean() < 200


def test_hands_that_are_no_angles_stay_at_rest(tracked: Path, body: Body) -> None:
    for path in (tracked / "output" / "smpl").iterdir():
        (person,) = json.loads(path.read_text())
        person["poses"] = [person["poses"][0][:66] + [0.7] * 12]
        path.write_text(json.dumps({"annots": [person]}))
    data = EasyMocapFolder.open(tracked)
    assert "hands" in data.notes[0] and len(data.notes) == 1
    controls = data.tracks[0].controls(body)
    assert not controls.pose[22:].any() and controls.pose[21].any()


BREAKS: dict[str, Callable[[Path], object]] = {
    "intri.yml: 'K_2' must have 9 numbers": lambda root: _edit(root / "intri.yml", "K_2", "K_3"),
    "extri.yml: 'T_1' must have 3 numbers, it is missing": lambda root: _edit(root / "extri.yml", "T_1", "T_9"),
    "intri.yml is no file of OpenCV's": lambda root: _edit(root / "intri.yml", "data: [", "data: ]["),
    "images/1 has no 000001.png": lambda root: (root / "images" / "1" / "000001.png").unlink(),
    "has no mask/": lambda root: shutil.rmtree(root / "mask"),
    "K is for another resolution": lambda root: _enlarge(root / "images"),
    "000000.json: 'Rh' is missing": lambda root: _edit(root / "output" / "smpl" / "000000.json", "Rh", "Ra"),
    "000001.json has 7; name one person": lambda root: None,
    "has no tracked bodies": lambda root: shutil.rmtree(root / "output"),
}


def _enlarge(folder: Path) -> None:
    for path in folder.rglob("*.png"):
        Image.new("RGB", (4 * WIDTH, 4 * HEIGHT)).save(path)


def _edit(path: Path, old: str, new: str) -> None:
    path.write_text(path.read_text().replace(old, new))


@pytest.mark.parametrize("words", BREAKS)
def test_what_is_wrong_in_a_tracked_folder_is_named(tracked: Path, words: str) -> None:
    BREAKS[words](tracked)
    if "name one person" in words:
        _edit(tracked / "output" / "smpl" / "000001.json", '"id": 0', '"id": 7')
    with pytest.raises(LayoutError, match=".*" + words.replace("[", r"\[")):
        EasyMocapFolder.open(tracked, person=0 if "person" in words else None)


def test_a_published_dataset_becomes_a_capture(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Pictures, poses and texture maps; the second of four cameras is held out."""
    output = tmp_path / "capture"
    arguments = ["import", "neural_actor_data", str(NEURAL_ACTOR), "--output", str(output), "--test-cameras", "0001"]
    assert main(arguments) == 0 and main(arguments) == 0  # again: goes on, and finds nothing to do
    capture = Capture.open(output)
    assert [view.split for view in capture.cameras] == ["train", "test", "train", "train"]
    for frame in range(len(capture.frames)):
        map_path = capture.map_path("textures", frame)
        published = sorted((NEURAL_ACTOR / "tex").iterdir())[frame]
        with Image.open(published) as texture:
            np.testing.assert_array_equal(capture.map(map_path, texture.width), np.asarray(texture.convert("RGB")))
        posed = _posed(capture.body, capture.frames[frame].controls)
        for camera, view in enumerate(capture.cameras):
            alpha = capture.image(camera, frame)[..., 3]
            pixels = np.floor(view.camera.project(posed)[0]).astype(int)
            x, y = pixels[((pixels >= 0) & (pixels < (view.camera.width, view.camera.height))).all(1)].T
            assert alpha[y, x].mean() > 250  # the fixture draws every vertex
    assert main([*arguments[:-1], "9"]) == 2
    assert "no camera '9'" in capsys.readouterr().err


def test_calibration_for_slightly_larger_pictures_is_noticed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its principal point is still inside of the picture, but the body is not where the person is."""
    folder = Path(shutil.copytree(NEURAL_ACTOR, tmp_path / "actor"))
    for path in (folder / "intrinsic").iterdir():
        np.savetxt(path, np.diag([1.35, 1.35, 1, 1]) @ np.loadtxt(path))
    assert main(["import", "neural_actor_data", str(folder), "--output", str(tmp_path / "capture")]) == 2
    assert "of the joints fall on the person: K is for another resolution" in capsys.readouterr().err
