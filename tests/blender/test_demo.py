"""The main job, as a stranger runs it: `avatar demo`."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image


@pytest.mark.skipif(importlib.util.find_spec("bpy") is None, reason="the bpy module is not in this Python")
def test_the_demo_renders_a_composited_walk(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "avatar_core.cli", "demo", "--frames", "3", "--resolution", "128x72"]
    done = subprocess.run([*command, "--output", str(tmp_path)], capture_output=True, text=True, timeout=400)
    assert done.returncode == 0, done.stdout + done.stderr
    pictures = [np.asarray(Image.open(tmp_path / f"frame_{n:04d}.png").convert("RGB")).astype(int) for n in (1, 2, 3)]
    assert pictures[0].shape == (72, 128, 3)
    red = [(p[..., 0] - p[..., 1:].max(-1) > 60).sum() for p in pictures]
    assert min(red) > 20  # the sleeves and shoes of the actor
    assert np.abs(pictures[0] - pictures[2]).max() > 40  # it moves
    assert (tmp_path / "demo.mp4").stat().st_size > 1000
    assert Image.open(tmp_path / "contact_sheet.png").size == (960, 180)
    assert (tmp_path / "demo.blend").exists()


@pytest.mark.parametrize(
    "arguments, words",
    [
        (["--frames", "0"], "--frames"),
        (["--actor", "nobody.actor"], "nobody.actor"),
        (["--blender", "/no/blender"], "/no/blender"),
    ],
)
def test_a_demo_that_cannot_work_says_why(arguments: list[str], words: str, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "avatar_core.cli", "demo", *arguments, "--output", str(tmp_path / "out")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=100)
    assert done.returncode == 2
    assert done.stderr.startswith("error: ") and words in done.stderr
