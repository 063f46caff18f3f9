"""In real Blenders a character of another maker, at another rest pose and size, poses an actor of SMPL's joints."""

from __future__ import annotations

from dataclasses import replace
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from blenders import Studio

from avatar_core.actor import Actor, describe
from avatar_core.body import Body
from avatar_core.body.joints import SMPLX_JOINTS, SMPLX_PARENTS
from avatar_core.body.kinematics import relative_transforms
from avatar_core.body.template import load_template
from avatar_core.methods.neural_actor import Config, Model

MAKERS = ("mixamo", "rigify")
LIMBS = (("shoulder", "elbow"), ("elbow", "wrist"), ("hip", "knee"), ("knee", "ankle"))
FINGERS = tuple(
    (f"{name}{k}", f"{name}{k + 1}") for name in ("thumb", "index", "middle", "ring", "pinky") for k in (1, 2)
)


@pytest.fixture(scope="session")
def body() -> Body:
    """The free body with SMPL-X's joints."""
    folded, data = load_template(), np.load(str(resources.files("blend_templates") / "body.npz"))
    count, joints = len(folded.vertices), len(SMPLX_JOINTS)
    weights, regressor = np.zeros((count, joints), np.float32), np.zeros((joints, count), np.float32)
    np.put_along_axis(weights, data["w_idx"].astype(int), data["w_val"].astype(np.float32), 1)
    regressor[data["jr_row"], data["jr_col"]] = data["jr_val"]
    named = {"joint_names": SMPLX_JOINTS, "parents": np.array(SMPLX_PARENTS, np.int32), "posedirs": None}
    return replace(folded, weights=weights / weights.sum(1, keepdims=True), regressor=regressor, **named)


@pytest.fixture(scope="session")
def actor(body: Body, tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    model = Model(Config(levels=4, log2_table=10, finest_resolution=64), body).eval()
    path = tmp_path_factory.mktemp("retarget") / "fingers.actor"
    Actor(model, body, describe("neural_actor", model, body, {"name": "x"}, "CC0-1.0")).save(path)
    return path


@pytest.fixture(scope="module")
def report(studio: Studio, actor: Path) -> dict[str, Any]:
    return studio.report("retarget", actor)


@pytest.mark.parametrize("maker", MAKERS)
def test_bones_are_found(report: dict[str, Any], maker: str) -> None:
    bones = report[maker]["bones"]
    limbs = {f"{side}_{limb}" for side in ("left", "right") for pair in LIMBS for limb in (*pair, "foot", "collar")}
    fingers = {f"{side}_{end}" for side in ("left", "right") for pair in FINGERS for end in pair}
    assert limbs | fingers | {"pelvis", "spine1", "spine2", "spine3", "neck", "head"} <= set(bones)
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
        for start, end in LIMBS + FINGERS:
            ours = joints[f"{side}_{end}"] - joints[f"{side}_{start}"]
            theirs = np.subtract(heads[f"{side}_{end}"], heads[f"{side}_{start}"])
            cosine = ours @ theirs / np.linalg.norm(ours) / np.linalg.norm(theirs)
            assert cosine > 0.9999, (side, start, end, cosine)
    hips = (joints["left_hip"] + joints["right_hip"]) / 2 * report[maker]["scale"]
    assert np.abs(hips - np.mean([heads["left_hip"], heads["right_hip"]], 0)).max() < 1e-3


def test_an_armature_without_known_bones_is_refused_with_a_sentence(report: dict[str, Any]) -> None:
    assert "named like" in report["refused"]


def test_fingers_are_told_where_their_names_say_nothing(report: dict[str, Any]) -> None:
    named, unnamed, told = report["told"]
    fingers = {f"left_index{number}" for number in (1, 2, 3)}
    assert fingers <= set(named) and not fingers & set(unnamed)
    assert {told[finger] for finger in fingers} == {"B1", "B2", "B3"} and set(told) == set(named)


def places(body: Body, controls: dict[str, Any]) -> dict[str, np.ndarray]:
    """Posed joints in the actor's world, metres of the body."""
    rest = torch.tensor(body.joints())
    pose, transl = (torch.tensor(controls[name], dtype=torch.float32) for name in ("pose", "transl"))
    bones = relative_transforms(pose, rest, body.parents, transl)
    posed = (bones[:, :3, :3] @ rest[..., None])[..., 0] + bones[:, :3, 3]
    return dict(zip(body.joint_names, posed.numpy().astype(float)))
