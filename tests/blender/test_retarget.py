"""In real Blenders a character of another maker, at another rest pose and size, poses an actor of SMPL's joints."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from blenders import Studio

from avatar_core.actor import Actor
from avatar_core.body import Body
from avatar_core.body.kinematics import relative_transforms

MAKERS = ("mixamo", "rigify")
LIMBS = (("shoulder", "elbow"), ("elbow", "wrist"), ("hip", "knee"), ("knee", "ankle"))


@pytest.fixture(scope="module")
def report(studio: Studio) -> dict[str, Any]:
    return studio.report("retarget", studio.actor)


@pytest.fixture(scope="module")
def body(tiny_actor: Path) -> Body:
    return Actor.load(tiny_actor).body


@pytest.mark.parametrize("maker", MAKERS)
def test_bones_are_found(report: dict[str, Any], maker: str) -> None:
    bones = report[maker]["bones"]
    limbs = {f"{side}_{limb}" for side in ("left", "right") for pair in LIMBS for limb in (*pair, "foot", "collar")}
    assert limbs | {"pelvis", "spine1", "spine2", "spine3", "neck", "head"} <= set(bones)
    assert report[maker]["said"] == ["FINISHED"]
    assert "torso" not in bones.values()
    assert abs(report[maker]["scale"] - 1.3) < 1e-4


@pytest.mark.parametrize("maker", MAKERS)
@pytest.mark.parametrize("state", ["rest", "posed"])
def test_limbs_point_where_the_characters_do(report: dict[str, Any], body: Body, maker: str, state: str) -> None:
    joints = places(body, report[maker][state])
    heads = report[maker]["heads"]
    if state == "rest":  # the arms hang lower than the body's own
        assert joints["left_wrist"][1] < joints["left_shoulder"][1] - 0.2
        return
    for side in ("left", "right"):
        for start, end in LIMBS:
            ours = joints[f"{side}_{end}"] - joints[f"{side}_{start}"]
            theirs = np.subtract(heads[f"{side}_{end}"], heads[f"{side}_{start}"])
            cosine = ours @ theirs / np.linalg.norm(ours) / np.linalg.norm(theirs)
            assert cosine > 0.9999, (side, start, end, cosine)
    hips = (joints["left_hip"] + joints["right_hip"]) / 2 * report[maker]["scale"]
    assert np.abs(hips - np.mean([heads["left_hip"], heads["right_hip"]], 0)).max() < 1e-3


def test_an_armature_without_known_bones_is_refused_with_a_sentence(report: dict[str, Any]) -> None:
    assert "named like" in report["refused"]


def places(body: Body, controls: dict[str, Any]) -> dict[str, np.ndarray]:
    """Posed joints in the actor's world, metres of the body."""
    rest = torch.tensor(body.joints())
    pose, transl = (torch.tensor(controls[name], dtype=torch.float32) for name in ("pose", "transl"))
    bones = relative_transforms(pose, rest, body.parents, transl)
    posed = (bones[:, :3, :3] @ rest[..., None])[..., 0] + bones[:, :3, 3]
    return dict(zip(body.joint_names, posed.numpy().astype(float)))
