"""`avatar infer` and `avatar gaussians`: pictures of people of a small capture by an actor that was never trained."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from avatar_core.actor import Actor, describe
from avatar_core.body.template import load_template
from avatar_core.camera import Camera
from avatar_core.cli import main
from avatar_core.data.capture import CaptureCamera
from avatar_core.data.people.capture import Joints, PeopleCapture, Recording, write_people
from avatar_core.methods.human_view_synthesis import Config, Model
from avatar_core.methods.human_view_synthesis.infer import Motion, virtual_shots

FRAMES, SIDE = 3, 64


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two people who step aside, before two cameras; and x.actor."""
    root = tmp_path_factory.mktemp("infer")
    torch.manual_seed(0)
    model = Model(Config(size=64, latent=64, base=16, pose_width=64, published=True, alpha=False), load_template())
    for name, value in model.generator.named_parameters():
        if name.endswith("bn3.weight"):  # as if it had learnt: pictures differ
            torch.nn.init.ones_(value)
    actor = Actor(
        model.eval(), model.body, describe("human_view_synthesis", model, model.body, {"name": "x"}, "CC0-1.0")
    )
    actor.save(root / "x.actor")
    rest = model.points(model.schema.neutral())
    world = np.stack([rest + np.array([0.1 * i, 0, 0], np.float32) for i in range(FRAMES)])
    eyes = ((0, 1, 3.0), (3.0, 1, 0))
    views = [Camera.look_at(np.array(eye), np.array([0, 1, 0]), 0.8, SIDE, SIDE) for eye in eyes]
    cameras = tuple(CaptureCamera(name, view, "train") for name, view in zip(("front", "side"), views))
    points = np.stack([[view.project(one)[0] for one in world] for view in views]).astype(np.float32)
    sure = np.ones((FRAMES, 17), np.float32)
    numbers, test = np.arange(4, 4 + FRAMES, dtype=np.int32), np.zeros(FRAMES, bool)
    joints = Joints(numbers, test, world, sure, points, np.stack([sure] * 2), np.ones((2, FRAMES), bool))
    recordings = [Recording(root / "people" / name, name, name, "train", cameras, joints) for name in ("ann", "bob")]
    for number, one in enumerate(recordings):
        for camera in cameras:
            images = one.folder / "images" / camera.name
            images.mkdir(parents=True)
            for frame in numbers:
                pixels = np.zeros((SIDE, SIDE, 4), np.uint8)
                pixels[16:60, 20:44] = (200 - 180 * number, 40, 20 + 200 * number, 255)
                Image.fromarray(pixels).save(images / f"{frame:06d}.png")
    write_people(root / "people", "two", "CC0-1.0", "human36m17", (244, 191, 175), recordings)
    return root


def read(folder: Path) -> list[np.ndarray]:
    return [np.asarray(Image.open(path)).astype(int) for path in sorted(folder.glob("*.png"))]


def infer(folder: Path, output: Path, kind: str, *words: str) -> list[np.ndarray]:
    command = ["infer", kind, str(folder / "x.actor"), str(folder / "people"), "--output", str(output), *words]
    assert main(command) == 0
    return read(output)


def test_people_from_another_camera(folder: Path, tmp_path: Path) -> None:
    views = {
        view: infer(folder, tmp_path / view, "real", "--in-view", "front", "--out-view", view, "--frames", "5-6")
        for view in ("front", "side")
    }
    assert [len(found) for found in views.values()] == [2, 2]
    assert all(one.shape == (SIDE, SIDE, 4) and one[..., 3].max() > 0 for found in views.values() for one in found)
    assert np.abs(views["front"][0] - views["side"][0]).max() > 10
    assert np.abs(views["front"][0] - views["front"][1]).max() > 10


def test_a_camera_that_turns(folder: Path, tmp_path: Path) -> None:
    assert len(infer(folder, tmp_path / "v", "virtual", "--quality", "draft")) == FRAMES
    capture = PeopleCapture.open(folder / "people")
    model = Actor.load(folder / "x.actor").model
    assert isinstance(model, Model)
    shots = list(virtual_shots(model, Motion(model, capture.recordings[0], None, None)))
    first, camera = shots[0]
    np.testing.assert_allclose(first[0], 0, atol=1e-6)
    assert camera.distortion.size == 5 and camera.position[2] == pytest.approx(-3.0)
    turns = [np.degrees(np.arctan2(one.world_to_camera[0, 2], one.world_to_camera[0, 0])) % 360 for _, one in shots]
    np.testing.assert_allclose(turns, [0, 240, 120], atol=1e-6)


def test_one_moves_as_the_other(folder: Path, tmp_path: Path) -> None:
    shown = {
        name: infer(folder, tmp_path / name, "transfer", "--recording", "ann", "--person-recording", name)
        for name in ("ann", "bob")
    }
    covered = [np.stack(found)[..., 3] > 0 for found in shown.values()]
    both = covered[0] & covered[1]
    colours = [np.stack(found)[both][:, :3] for found in shown.values()]
    assert np.abs(colours[0] - colours[1]).max() > 5


def test_poses_are_lifted_about_the_root(folder: Path) -> None:
    capture = PeopleCapture.open(folder / "people")
    model = Actor.load(folder / "x.actor").model
    assert isinstance(model, Model)
    motion = Motion(model, capture.recordings[0], "side", None)
    np.testing.assert_allclose(motion.world(1), motion.world(1))
    lifted, known = motion.world(2), capture.recordings[0].joints.world[2]
    assert np.isfinite(lifted).all() and np.abs(lifted - known).max() > 0.01  # by a network that knows nothing


def test_a_picture_dresses_a_render(folder: Path, tmp_path: Path) -> None:
    person = folder / "people" / "bob" / "images" / "front" / "000004.png"
    common = ["render", str(folder / "x.actor"), "--resolution", "64x64", "--planes", "color,limb"]
    assert main([*common, "--appearance", str(person), "--output", str(tmp_path)]) == 0
    assert (tmp_path / "0001.png").exists() and np.asarray(Image.open(tmp_path / "limb_0001.png")).max() == 255


@pytest.mark.parametrize("kind", ["one-sphere", "one-ellipsoid", "two-spheres", "many-spheres", "many-ellipsoids"])
def test_shapes(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "x.png"
    assert main(["gaussians", kind, "--height", "54", "--width", "96", "--output", str(path)]) == 0
    picture = np.asarray(Image.open(path))
    assert picture.shape == (54, 96, 4) and picture[..., 3].max() > 200 and picture[0, 0, 3] < 50


def test_a_pose_as_gaussians(folder: Path, tmp_path: Path) -> None:
    path = tmp_path / "x.png"
    words = ["--view", "side", "--frame", "5", "--density", "500", "--output", str(path)]
    assert main(["gaussians", "pose", str(folder / "people"), *words]) == 0
    seen = np.asarray(Image.open(path))[..., 3] > 128
    assert 0.01 < seen.mean() < 0.3
    rows = np.flatnonzero(seen.any(1))
    assert rows[-1] - rows[0] > 128  # a whole person


@pytest.mark.parametrize(
    "words, sentence",
    [
        (["real", "--in-view", "top"], "has no camera 'top'; it has front, side"),
        (["real", "--frames", "90-99"], "has no frames 90-99"),
        (["virtual", "--recording", "eve"], "has no recording 'eve'; it has ann, bob"),
    ],
)
def test_what_is_not_there_is_named(
    folder: Path, words: list[str], sentence: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    kind, *rest = words
    command = ["infer", kind, str(folder / "x.actor"), str(folder / "people"), *rest, "--output", str(tmp_path)]
    assert main(command) == 2
    assert sentence in capsys.readouterr().err
