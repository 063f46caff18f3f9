"""Joints of the published skeletons on bodies of the SMPL family: SMPL, SMPL-H, SMPL-X, and our own body.

A place is a mean of a body's joints, plus an offset in the rest pose (metres, y up, facing +z, the left side at +x)
that turns with the first of them. Fingers and faces that a body has no joints for are those of an average person.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from ...body import Body
from ...body.kinematics import relative_transforms
from ...controls import Controls
from ...errors import AvatarError
from .skeleton import PANOPTIC, Skeleton

_TIP = 0.9  # of the phalanx before it: how long the last one is
_SIDES = (("L", "left", 1.0), ("R", "right", -1.0))


@dataclass(frozen=True)
class Place:
    """Weights of joints, by name, and an offset."""

    weights: dict[str, float]
    offset: tuple[float, float, float] = (0.0, 0.0, 0.0)


class JointMap:
    """Where the joints of `skeleton` lie on `body`. Raises AvatarError for a body of another family."""

    def __init__(self, skeleton: Skeleton, body: Body) -> None:
        names = {name: i for i, name in enumerate(body.joint_names)}
        places = _places(set(names))
        if not {"pelvis", "left_hip", "right_shoulder", "head"} <= set(names):
            raise AvatarError(f"'{body.name}' is no body of the SMPL family; drive the actor by points instead")
        found = [places[joint] for joint in skeleton.joints]
        self.weights = torch.zeros(len(found), len(names))
        for row, place in zip(self.weights, found):
            for name, weight in place.weights.items():
                row[names[name]] = weight
        self.turned_with = torch.tensor([names[next(iter(place.weights))] for place in found])
        self.offsets = torch.tensor([place.offset for place in found])
        self.parents = body.parents
        self.rest, self.shapes = torch.tensor(body.joints()), torch.tensor(body.joint_shapedirs())

    def points(self, controls: Controls) -> torch.Tensor:
        """[J, 3] float32 metres, world."""
        betas, pose, transl = (torch.as_tensor(array) for array in (controls.betas, controls.pose, controls.transl))
        rest = self.rest + self.shapes[..., : len(betas)] @ betas
        bones = relative_transforms(pose, rest, self.parents, transl)
        joints = (bones[:, :3, :3] @ rest[..., None])[..., 0] + bones[:, :3, 3]
        turns = bones[self.turned_with, :3, :3]
        return self.weights @ joints + (turns @ self.offsets[..., None])[..., 0]


def _places(joints: set[str]) -> dict[str, Place]:
    """Of all joints of both skeletons, for a body with these joints."""
    places = _human36m() | _trunk()
    for short, side, sign in _SIDES:
        places |= _hand(short, side, sign, f"{side}_index1" in joints)
    return places | dict(zip(PANOPTIC.joints[slice(*PANOPTIC.parts["face"])], _face()))


def _at(joint: str, *offset: float) -> Place:
    return Place({joint: 1.0}, (offset[0], offset[1], offset[2]) if offset else (0.0, 0.0, 0.0))


def _mean(*joints: str) -> Place:
    return Place({joint: 1 / len(joints) for joint in joints})


def _human36m() -> dict[str, Place]:
    middle = {
        "HipCenter": _at("pelvis"),
        "Spine": _at("spine2"),
        "Thorax": _at("neck"),
        "Neck/Nose": _at("head", 0, 0.04, 0.06),
        "Head": _at("head", 0, 0.17, 0.02),
    }
    return middle | {f"{short}Foot": _at(f"{side}_ankle") for short, side, _ in _SIDES}


def _trunk() -> dict[str, Place]:
    limbs = ("Shoulder", "Elbow", "Wrist", "Hip", "Knee", "Ankle")
    places = {f"{short}{limb}": _at(f"{side}_{limb.lower()}") for short, side, _ in _SIDES for limb in limbs}
    places |= {"Nose": _at("head", 0, 0.04, 0.11), "Sternum": _mean("left_shoulder", "right_shoulder")}
    for short, _, sign in _SIDES:
        places[f"{short}Eye"] = _at("head", sign * 0.031, 0.07, 0.085)
        places[f"{short}Ear"] = _at("head", sign * 0.075, 0.05, 0.0)
    return places


def _hand(short: str, side: str, sign: float, jointed: bool) -> dict[str, Place]:
    """Four joints of each finger, the tip last."""
    joints = PANOPTIC.joints[slice(*PANOPTIC.parts["left_hand" if short == "L" else "right_hand"])]
    places: dict[str, Place] = {}
    for number, finger in enumerate(("thumb", "index", "middle", "ring", "pinky")):
        chain = joints[4 * number : 4 * number + 4]
        if jointed:
            names = [f"{side}_{finger}{i}" for i in (1, 2, 3)]
            places |= {joint: _at(name) for joint, name in zip(chain, names)}
            places[chain[3]] = Place({names[2]: 1 + _TIP, names[1]: -_TIP})
            continue
        along = (0.03, 0.06, 0.08, 0.1) if finger == "thumb" else (0.09, 0.125, 0.15, 0.17)
        ahead = (0.03, 0.05, 0.06, 0.07) if finger == "thumb" else (0.05 - 0.02 * number,) * 4
        places |= {j: _at(f"{side}_wrist", sign * x, 0, z) for j, x, z in zip(chain, along, ahead)}
    return places


def _face() -> list[Place]:
    """iBUG's points 5 to 11 and 17 to 67: right to left, as the person has them."""
    points: list[tuple[float, float, float]] = []
    across = np.linspace(-1, 1, 7)
    points += [(0.048 * x, -0.055 + 0.035 * x * x, 0.09 - 0.035 * x * x) for x in across]
    for sign in (-1, 1):
        share = np.linspace(1, 0, 5) if sign < 0 else np.linspace(0, 1, 5)
        points += [(sign * (0.014 + 0.04 * x), 0.085 + 0.006 * np.sin(np.pi * x), 0.1 - 0.02 * x) for x in share]
    points += [(0, y, 0.093 + 0.4 * (0.065 - y)) for y in np.linspace(0.065, 0.035, 4)]
    points += [(0.016 * x, 0.024, 0.1 - 0.008 * abs(x)) for x in np.linspace(-1, 1, 5)]
    for sign in (-1, 1):
        turn = np.pi - np.arange(6) * np.pi / 3
        points += [(sign * 0.031 + 0.014 * np.cos(t), 0.068 + 0.006 * np.sin(t), 0.085) for t in turn]
    for count, width, height in ((12, 0.025, 0.011), (8, 0.018, 0.004)):
        turn = np.pi - np.arange(count) * 2 * np.pi / count
        points += [(width * np.cos(t), -0.008 + height * np.sin(t), 0.1 - 0.012 * np.cos(t) ** 2) for t in turn]
    return [_at("head", *(float(x) for x in point)) for point in points]
