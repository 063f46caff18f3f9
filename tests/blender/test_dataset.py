"""`avatar capture --blender PROGRAM`: real Blenders render training pictures of poses, with their cameras."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from blenders import ROOT, TIMEOUT, Studio

from avatar_core.body.kinematics import relative_transforms
from avatar_core.cuda.skin import skin_points
from avatar_core.data.capture import Capture


def capture(studio: Studio, output: str) -> subprocess.CompletedProcess[str]:
    """With sources and temporary files in the studio's folder: a Blender in a system of its own sees no others."""
    code = "import sys; from avatar_core.cli import main; sys.exit(main(sys.argv[1:]))"
    options = ["--resolution", "64", "--samples", "4", "--cameras", "2", "--frames", "2", "--motion", "wave"]
    command = ["capture", "--output", output, *options, "--blender", studio.blender.program]
    environment = os.environ | {"PYTHONPATH": f"{studio.folder}{os.pathsep}{ROOT}", "TMPDIR": str(studio.folder)}
    return subprocess.run(
        [sys.executable, "-c", code, *command],
        cwd=studio.folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=TIMEOUT,
    )


def test_pictures_show_the_poses_from_the_cameras(studio: Studio) -> None:
    if studio.blender.module:
        pytest.skip("tests/training/test_studio.py has the module bpy")
    shutil.copytree(ROOT / "training", studio.folder / "training", ignore=shutil.ignore_patterns("__pycache__"))
    done = capture(studio, "failed")
    assert done.returncode == 2 and "No module named 'blend_templates'" in done.stderr, "a failure inside is told"
    shutil.copytree(ROOT / "blend_templates", studio.folder / "blend_templates")
    done = capture(studio, "poses")
    assert done.returncode == 0, done.stdout + done.stderr
    made = Capture.open(Path(studio.folder, "poses"))
    body = made.body
    for camera in range(2):
        for frame in range(2):
            controls, alpha = made.frames[frame].controls, made.image(camera, frame)[..., 3]
            pose, transl = torch.tensor(controls.pose), torch.tensor(controls.transl)
            transforms = relative_transforms(pose, torch.tensor(body.joints()), body.parents, transl)
            points = skin_points(torch.tensor(body.vertices), torch.tensor(body.weights), transforms).numpy()
            pixels, _ = made.cameras[camera].camera.project(points)
            x, y = np.floor(pixels).astype(int).clip(0, 63).T
            assert (alpha[y, x] > 0).mean() > 0.9, "the clothed person covers the posed body, but for thin fingers"
            assert 0.02 < (alpha > 127).mean() < 0.5
