"""LPIPS gives the values of its authors' package, and `avatar evaluate` reports them with the user's weights."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from avatar_core.actor import Actor
from avatar_core.camera import Camera
from avatar_core.data.capture import Capture, CaptureCamera, CaptureFrame
from avatar_core.errors import AvatarError
from avatar_core.frame import to_png8
from tests.command import avatar
from training.lpips import LPIPS

_SHAPES = {
    "net.slice1.0": (64, 3, 11, 11),
    "net.slice2.3": (192, 64, 5, 5),
    "net.slice3.6": (384, 192, 3, 3),
    "net.slice4.8": (256, 384, 3, 3),
    "net.slice5.10": (256, 256, 3, 3),
}


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file with the names of the package's state dict; numbers by a rule."""
    random, state = np.random.RandomState(7), {}
    for level, (name, shape) in enumerate(_SHAPES.items()):
        state[f"{name}.weight"] = torch.tensor(random.standard_normal(shape) / np.prod(shape[1:]) ** 0.5).float()
        state[f"{name}.bias"] = torch.tensor(random.standard_normal(shape[0])).float() * 0.1
        state[f"lin{level}.model.1.weight"] = torch.tensor(random.rand(1, shape[0], 1, 1)).float()
    path = tmp_path_factory.mktemp("lpips") / "lpips.pth"
    torch.save(state, path)
    return path


def test_values_of_the_package(weights: Path) -> None:
    """Of lpips 0.1.4 with these weights (float32, on a CPU)."""
    measure, random = LPIPS(weights), np.random.RandomState(8)
    one, two = random.rand(2, 40, 56, 3)
    assert measure(one, two) == pytest.approx(0.8674364, rel=1e-5)
    assert measure(one, 0.9 * one + 0.1 * two) == pytest.approx(0.01315284, rel=1e-4)
    assert measure(one, one) == 0


def test_evaluation_with_lpips_and_pictures(weights: Path, tiny_actor: Path, tmp_path: Path) -> None:
    """Two held-out frames, one of which was captured upside down; the figures are those of the saved pictures."""
    actor = Actor.load(tiny_actor)
    camera = Camera.look_at(np.array([0, 0.2, 2.8]), np.array([0, -0.2, 0]), 0.72, 48, 48)
    frames = [CaptureFrame(number, actor.schema.neutral(), "test") for number in range(2)]
    frames.append(replace(frames[0], index=2, split="train"))
    views = [CaptureCamera("front", camera, "test"), CaptureCamera("again", camera, "train")]
    capture = Capture.create(tmp_path / "capture", "mirror", "CC0-1.0", 30.0, views, frames, actor.body)
    picture = to_png8(actor.render(actor.schema.neutral(), camera, "draft"))
    for view, frame in capture.missing():
        path = capture.image_path(view, frame)
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(picture if frame == 0 else picture[::-1].copy(), "RGBA").save(path)
    options = ["--quality", "draft", "--lpips", str(weights), "--json", str(tmp_path / "m.json")]
    done = avatar("evaluate", str(tiny_actor), str(capture.folder), *options, "--save", str(tmp_path / "shown"))
    assert done.returncode == 0, done.stderr
    found = json.loads((tmp_path / "m.json").read_text())
    assert 0 < found["novel_pose"]["lpips"] < 9 and found["novel_pose"]["box_lpips"] > found["novel_pose"]["lpips"]
    names = sorted(str(path.relative_to(tmp_path / "shown")) for path in (tmp_path / "shown").rglob("*.png"))
    assert [name for name in names if name.startswith("novel_pose")] == [
        f"novel_pose/{kind}/front_{frame:06d}.png" for kind in ("captured", "rendered") for frame in range(2)
    ]
    measure = LPIPS(weights)
    values = []
    for frame in range(2):
        both = [
            np.asarray(Image.open(tmp_path / "shown" / "novel_pose" / kind / f"front_{frame:06d}.png")) / 255
            for kind in ("captured", "rendered")
        ]
        values.append(measure(both[0], both[1]))
    assert values[0] < 0.05 * values[1]
    assert np.mean(values) == pytest.approx(found["novel_pose"]["lpips"], abs=2e-3)


def test_unusable_weights_are_named(tmp_path: Path) -> None:
    torch.save({"net.slice1.0.weight": torch.zeros(3)}, tmp_path / "other.pth")
    for name, words in (
        ("none.pth", "none.pth cannot be read .* save the state dict of lpips"),
        ("other.pth", r"other.pth: 'net.slice1.0.weight' must be finite numbers of shape \(64, 3, 11, 11\)"),
    ):
        with pytest.raises(AvatarError, match=words):
            LPIPS(tmp_path / name)
