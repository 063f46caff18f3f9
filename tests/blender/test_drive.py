"""In Blender an armature of another maker drives an actor, and a picture says whom it looks like."""

from __future__ import annotations

import importlib.util
import json
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from avatar_core.actor import Actor, describe
from avatar_core.body.template import load_template
from avatar_core.methods.human_view_synthesis import Config, Model

if importlib.util.find_spec("bpy") is None:
    pytest.skip("bpy is not installed", allow_module_level=True)

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    sys.path.insert(0, str(ROOT))
    import build_addon

    folder = tmp_path_factory.mktemp("drive")
    torch.manual_seed(0)
    model = Model(Config(size=64, latent=64, base=16, pose_width=0), load_template()).eval()
    model.appearance.normal_()
    actor = Actor(model, model.body, describe("human_view_synthesis", model, model.body, {"name": "x"}, "CC0-1.0"))
    actor.save(folder / "x.actor")
    package = build_addon.stage(folder / "neural_avatars")
    code = f"import sys; sys.path.insert(0, {str(ROOT)!r}); from avatar_core.worker.__main__ import main; main([])"
    worker = shlex.join([sys.executable, "-I", "-c", code])
    script = Path(__file__).with_name("drive_script.py")
    start = f"import sys, runpy; sys.argv[0] = {str(script)!r}; runpy.run_path({str(script)!r}, run_name='__main__')"
    command = [sys.executable, "-c", start, str(folder / "x.actor"), worker, str(package)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    line = next((line for line in done.stdout.splitlines() if line.startswith("REPORT ")), None)
    assert done.returncode == 0 and line is not None, done.stdout + done.stderr
    return json.loads(line.removeprefix("REPORT "))


def test_rigs_of_other_makers_are_understood(report: dict[str, Any]) -> None:
    limbs = {f"{side}{joint}" for side in "LR" for joint in ("Hip", "Knee", "Foot", "Shoulder", "Elbow", "Wrist")}
    for maker, found in report["found"].items():
        assert limbs | {"HipCenter", "Thorax", "Spine"} <= set(found), maker
    assert report["elbows"] == ["lowerarm_l", "J_Bip_L_LowerArm", "mixamorig:LeftForeArm"]
    assert report["fingers"] == {
        "LIndex1Knuckles": ["f_index.01.L", 0.0],
        "LIndex4FingerTip": ["f_index.03.L", 1.0],
        "LPinky2PIP": ["f_pinky.02.L", 0.0],
        "RThumb1CMC": ["RightHandThumb1", 0.0],
        "RThumb4FingerTip": ["RightHandThumb3", 1.0],
    }


def test_bones_are_joints_in_metres(report: dict[str, Any]) -> None:
    assert report["said"] == ["FINISHED"] and report["scale"] == 1
    joints = Config().skeleton_of().joints
    at = {name: place for name, place in zip(joints, report["rest"])}
    np.testing.assert_allclose(at["LElbow"], [0.45, 1.4, 0], atol=1e-6)  # y up
    np.testing.assert_allclose(at["RKnee"], [-0.1, 0.5, 0], atol=1e-6)
    np.testing.assert_allclose(at["Head"], [0, 1.75, 0], atol=1e-6)
    np.testing.assert_allclose(at["HipCenter"], [0, 0.95, 0], atol=1e-6)
    moved = {name: place for name, place in zip(joints, report["moved"])}
    np.testing.assert_allclose(np.subtract(moved["LElbow"], at["LElbow"]), [1, 0, -2], atol=1e-6)


def test_they_make_a_picture(report: dict[str, Any]) -> None:
    assert report["covered"] > 0.05


def test_an_image_datablock_says_who_it_is(report: dict[str, Any]) -> None:
    assert report["looked"] == ["FINISHED"] and len(report["appearance"]) == 256 and any(report["appearance"])
    assert report["picture"] < 1.5  # the square in the middle, no row lost


def test_bones_that_are_gone_are_named(report: dict[str, Any]) -> None:
    assert "lacks bones of its joint map (gone)" in report["lost"]
