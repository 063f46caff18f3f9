"""In real Blenders an armature of another maker drives an actor, and a picture says whom it looks like."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from blenders import Studio

from avatar_core.actor import Actor, describe
from avatar_core.body.template import load_template
from avatar_core.methods.human_view_synthesis import Config, Model


@pytest.fixture(scope="session")
def actor(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    model = Model(Config(size=64, latent=64, base=16, pose_width=0), load_template()).eval()
    model.appearance.normal_()
    path = tmp_path_factory.mktemp("drive") / "x.actor"
    Actor(model, model.body, describe("human_view_synthesis", model, model.body, {"name": "x"}, "CC0-1.0")).save(path)
    return path


@pytest.fixture(scope="module")
def report(studio: Studio, actor: Path) -> dict[str, Any]:
    return studio.report("drive", actor)


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
        "RIndex1Knuckles": ["finger2-1.R", 0.0],
        "RPinky4FingerTip": ["finger5-3.R", 1.0],
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


def test_they_make_a_picture_that_tells_limbs(report: dict[str, Any], actor: Path) -> None:
    assert report["covered"] > 0.05
    numbers = set(report["limbs"])
    assert len(numbers) > 5 and numbers <= set(range(len(Actor.load(actor).limbs) + 1))


def test_an_image_datablock_says_who_it_is(report: dict[str, Any]) -> None:
    assert report["looked"] == ["FINISHED"] and len(report["appearance"]) == 256 and any(report["appearance"])
    assert report["picture"] < 1.5  # the square in the middle, no row lost


def test_bones_that_are_gone_are_named(report: dict[str, Any]) -> None:
    assert "lacks bones of its bone map (gone)" in report["lost"]
