"""Turns a person in MakeHuman's relaxed pose into an SMPL-like T-pose, with the 163-bone rig."""

from __future__ import annotations

import numpy as np
from scipy.spatial.transform import Rotation

from .skeleton import DefaultRig

# Directions from joint to joint in the T-pose, left side; the right side is mirrored in x.
_COLLAR_DEGREES = 10.0
_UPPER_ARM = (0.262, -0.012, -0.026)
_FOREARM = (0.249, 0.006, -0.002)
_HAND = (0.084, -0.006, -0.004)
_THIGH = (0.030, -0.385, -0.004)
_SHIN = (-0.008, -0.398, -0.036)
_ROTATED = (
    *("clavicle", "shoulder01", "upperarm01", "upperarm02", "lowerarm01", "lowerarm02", "wrist"),
    *("pelvis", "upperleg01", "upperleg02", "lowerleg01", "lowerleg02", "foot"),
)


def unpose(
    rig: DefaultRig, heads: np.ndarray, cubes: dict[str, np.ndarray], points: np.ndarray, weights: np.ndarray
) -> np.ndarray:
    """[N, 3] points in the T-pose.

    heads: [bones, 3] of this person. cubes: joint cube -> [3] centre. weights: [N, bones]. All metres.
    """
    world = np.tile(np.eye(3), (len(rig.names), 1, 1))
    for side, sign in (("L", 1.0), ("R", -1.0)):
        for bone, rotation in _side_rotations(cubes, side.lower(), sign).items():
            world[rig.index[f"{bone}.{side}"]] = rotation
    own = {f"{bone}.{side}" for bone in _ROTATED for side in "LR"}
    places = np.zeros_like(heads)
    for i, parent in enumerate(rig.parents):
        if parent < 0:
            places[i] = heads[i]
            continue
        if rig.names[i] not in own:
            world[i] = world[parent]
        places[i] = places[parent] + world[parent] @ (heads[i] - heads[parent])
    shift = places - np.einsum("bij,bj->bi", world, heads)
    blended = (weights @ world.reshape(-1, 9)).reshape(-1, 3, 3)
    return np.einsum("vij,vj->vi", blended, points) + weights @ shift


def _side_rotations(cubes: dict[str, np.ndarray], s: str, sign: float) -> dict[str, np.ndarray]:
    """World rotation of each limb bone of one side."""
    mirror = np.array([sign, 1, 1])

    def towards(start: str, end: str, direction: tuple[float, float, float]) -> np.ndarray:
        return _between(cubes[f"{s}-{end}"] - cubes[f"{s}-{start}"], np.array(direction) * mirror)

    collar = Rotation.from_rotvec([0, 0, sign * np.radians(_COLLAR_DEGREES)]).as_matrix()
    upper = towards("shoulder", "elbow", _UPPER_ARM)
    fore = towards("elbow", "hand", _FOREARM)
    hand = towards("hand", "finger-3-1", _HAND)
    palm = _palm_angle(hand, cubes, s, sign)
    thigh = towards("upper-leg", "knee", _THIGH)
    shin = towards("knee", "ankle", _SHIN)

    def twisted(share: float, rotation: np.ndarray) -> np.ndarray:
        return Rotation.from_rotvec([-share * palm, 0, 0]).as_matrix() @ rotation

    return {
        "clavicle": collar,
        "shoulder01": _fraction(upper @ collar.T, 0.25) @ collar,
        "upperarm01": upper,
        "upperarm02": twisted(0.15, upper),
        "lowerarm01": twisted(0.4, fore),
        "lowerarm02": twisted(0.75, fore),
        "wrist": twisted(1.0, hand),
        "pelvis": _fraction(thigh, 0.15),
        "upperleg01": thigh,
        "upperleg02": thigh,
        "lowerleg01": shin,
        "lowerleg02": shin,
        "foot": np.eye(3),
    }


def _palm_angle(hand: np.ndarray, cubes: dict[str, np.ndarray], s: str, sign: float) -> float:
    """Radians about x that are left until the back of the hand looks up."""
    across = hand @ (cubes[f"{s}-finger-2-1"] - cubes[f"{s}-finger-5-1"])
    forward = hand @ (cubes[f"{s}-finger-3-1"] - cubes[f"{s}-hand"])
    normal = np.cross(across, forward) * sign
    normal *= 1 if normal[1] >= 0 else -1
    return float(np.arctan2(normal[2], normal[1]))


def _between(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """The shortest rotation that takes direction a to direction b."""
    a, b = a / np.linalg.norm(a), b / np.linalg.norm(b)
    axis = np.cross(a, b)
    sine = np.linalg.norm(axis)
    if sine < 1e-12:
        return np.eye(3)
    return Rotation.from_rotvec(axis / sine * np.arctan2(sine, a @ b)).as_matrix()


def _fraction(rotation: np.ndarray, share: float) -> np.ndarray:
    return Rotation.from_rotvec(Rotation.from_matrix(rotation).as_rotvec() * share).as_matrix()
