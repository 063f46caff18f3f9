"""`avatar render`: the picture of the API, in files, by a command."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from avatar_core.actor import Actor
from avatar_core.camera import Camera
from avatar_core.frame import to_png8


def avatar(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "avatar_core.cli", *arguments], capture_output=True, text=True, timeout=200
    )


def test_a_shot_gives_the_same_picture_as_the_api(tiny_actor: Path, front_camera: Camera, tmp_path: Path) -> None:
    actor = Actor.load(tiny_actor)
    pose = np.zeros((24, 3), np.float32)
    pose[16, 2] = -1
    frames = [actor.schema.neutral(), replace(actor.schema.neutral(), pose=pose)]
    shot = {"camera": front_camera.to_dict(), "frames": [frame.to_dict() for frame in frames]}
    (tmp_path / "shot.json").write_text(json.dumps(shot))
    output = tmp_path / "out"
    done = avatar(
        "render", str(tiny_actor), "--shot", str(tmp_path / "shot.json"), "--frames", "2", "--output", str(output)
    )
    assert done.returncode == 0, done.stderr
    assert [path.name for path in output.iterdir()] == ["0002.png"]
    expected = to_png8(actor.render(frames[1], front_camera, "preview"))
    stored = np.asarray(Image.open(output / "0002.png"))
    assert np.abs(stored.astype(int) - expected).max() <= 1


@pytest.mark.parametrize(
    "arguments, words",
    [
        (["--motion", "moonwalk"], "walk"),
        (["--frames", "9"], "frames 9-9 are not in the shot"),
        (["--shot", "missing.json"], "missing.json"),
    ],
)
def test_wrong_words_are_one_sentence(tiny_actor: Path, arguments: list[str], words: str) -> None:
    done = avatar("render", str(tiny_actor), *arguments)
    assert done.returncode == 2
    assert words in done.stderr and len(done.stderr.strip().splitlines()) == 1


def test_an_actor_says_what_it_is(tiny_actor: Path) -> None:
    done = avatar("inspect", str(tiny_actor))
    assert done.returncode == 0
    assert '"method": "neural_actor"' in done.stdout and "left_elbow" in done.stdout
