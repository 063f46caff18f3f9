"""Short looping motions in SMPL's joints, made of formulas: no motion capture, so free of anyone's rights.

Conventions: y up, facing +z, the ground is y = 0. Positive angles about x bend a knee, lean the trunk
forwards and point a toe; negative ones lift a thigh forwards. All clips stay in place.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import numpy as np

from avatar_core.body import Body, BodyFileError, load_body
from avatar_core.body.joints import SMPL_JOINTS

FPS = 30.0
_SIDES = (("left", 1.0), ("right", -1.0))
_Angle = float | np.ndarray
_HARMONICS = 6  # of a gait curve; more would bring the corners of its table back


@dataclass(frozen=True)
class Motion:
    """A clip that loops: frame T would equal frame 0.

    pose: [T, J, 3] float32 axis-angle, radians, in the order of the body's joints. transl: [T, 3] float32
    metres, such that the lowest vertex of the (unshaped) body touches y = 0 in every frame, or is as high as
    the clip jumps.
    """

    fps: float
    pose: np.ndarray
    transl: np.ndarray


class _Clip:
    """Rotations of named joints over T frames; joints that are never set stay at rest."""

    def __init__(self, frames: int) -> None:
        self.phase = np.arange(frames) / frames  # [T] in [0, 1)
        self.rotation = {name: np.tile(np.eye(3), (frames, 1, 1)) for name in SMPL_JOINTS}
        self.height = np.zeros(frames)  # [T] metres above the ground

    def turn(self, joint: str, x: _Angle = 0.0, y: _Angle = 0.0, z: _Angle = 0.0) -> _Clip:
        """Sets a joint to Rx Ry Rz, degrees."""
        rotation = _rotate(0, x) @ _rotate(1, y) @ _rotate(2, z)
        self.rotation[joint] = np.broadcast_to(rotation, (len(self.phase), 3, 3))
        return self

    def then(self, joint: str, axis: int, degrees: np.ndarray) -> _Clip:
        """Turns a joint further, about an axis of its parent."""
        self.rotation[joint] = _rotate(axis, degrees) @ self.rotation[joint]
        return self

    def arms_down(self, degrees: float = 68.0, elbow: float = 12.0) -> _Clip:
        for side, sign in _SIDES:
            self.turn(f"{side}_shoulder", z=-sign * degrees)
            self.turn(f"{side}_elbow", y=-sign * elbow)
            self.turn(f"{side}_collar", z=-sign * 6)
        return self


# Sagittal joint angles of level walking at (share of the stride, degrees); the stride starts at heel strike.
_HIP_FLEXION = ((0.0, 28), (0.12, 24), (0.5, -10), (0.62, -2), (0.85, 31), (0.94, 30))
_KNEE_FLEXION = ((0.0, 6), (0.15, 17), (0.4, 6), (0.5, 11), (0.6, 34), (0.72, 58), (0.86, 28), (0.96, 5))
_ANKLE_LIFT = ((0.0, 1), (0.08, -5), (0.25, 4), (0.45, 10), (0.62, -15), (0.78, 1), (0.9, 2))
_TOE_LIFT = ((0.0, 4), (0.1, 0), (0.4, 2), (0.58, 24), (0.68, 4), (0.85, 2))


def _walk() -> _Clip:
    clip = _Clip(36).arms_down()
    for (side, sign), start in zip(_SIDES, (0.0, 0.5)):
        stride = (clip.phase + start) % 1
        swing = np.cos(2 * np.pi * stride)
        clip.turn(f"{side}_hip", x=-_curve(stride, _HIP_FLEXION), z=2 * sign)
        clip.turn(f"{side}_knee", x=_curve(stride, _KNEE_FLEXION))
        clip.turn(f"{side}_ankle", x=-_curve(stride, _ANKLE_LIFT))
        clip.turn(f"{side}_foot", x=-_curve(stride, _TOE_LIFT))
        clip.turn(f"{side}_shoulder", z=-sign * 74).then(f"{side}_shoulder", 0, 20 * swing)
        clip.turn(f"{side}_elbow", y=-sign * (22 - 9 * swing))
    turn, sway = np.cos(2 * np.pi * clip.phase), np.sin(2 * np.pi * clip.phase)
    clip.turn("pelvis", x=2, y=-5 * turn, z=2 * sway).turn("spine1", x=2, y=4 * turn, z=-1.5 * sway)
    return clip.turn("spine2", x=1, y=4 * turn).turn("spine3", x=1, y=3 * turn).turn("neck", x=-2, y=-4 * turn)


def _squat() -> _Clip:
    clip = _Clip(60).arms_down()
    depth = _once(clip.phase)
    for side, sign in _SIDES:
        clip.turn(f"{side}_hip", x=-98 * depth, z=sign * (3 + 14 * depth))
        clip.turn(f"{side}_knee", x=112 * depth).turn(f"{side}_ankle", x=-34 * depth)
        clip.turn(f"{side}_shoulder", z=-sign * (68 - 60 * depth)).then(f"{side}_shoulder", 1, -sign * 78 * depth)
    clip.turn("pelvis", x=22 * depth).turn("spine1", x=8 * depth).turn("spine2", x=6 * depth)
    return clip.turn("neck", x=-14 * depth).turn("head", x=-10 * depth)


def _wave() -> _Clip:
    clip = _Clip(60).arms_down()
    up = _smooth(np.minimum(clip.phase, 1 - clip.phase) / 0.2)
    clip.turn("right_shoulder", z=68 - 100 * up).turn("right_collar", z=6 - 22 * up)
    clip.turn("right_elbow", y=12, z=-up * (45 + 22 * np.sin(8 * np.pi * clip.phase)))
    return clip.turn("head", y=-12 * up, z=6 * up).turn("spine3", y=-6 * up, z=4 * up)


def _raise_arms() -> _Clip:
    clip = _Clip(48)
    up = _once(clip.phase)
    for side, sign in _SIDES:
        clip.turn(f"{side}_shoulder", z=sign * (-68 + 128 * up)).turn(f"{side}_collar", z=sign * (-6 + 24 * up))
        clip.turn(f"{side}_elbow", y=-sign * 12 * (1 - up))
    return clip.turn("spine3", x=-6 * up)


def _twist_bend() -> _Clip:
    clip = _Clip(72).arms_down(40, 30)
    angle = 2 * np.pi * clip.phase
    for joint, degrees in (("spine1", 14), ("spine2", 12), ("spine3", 10), ("neck", 10), ("head", 8)):
        clip.turn(joint, degrees * 0.4 * (1 - np.cos(2 * angle)), degrees * np.sin(angle), 6 * np.cos(angle) - 6)
    return clip.turn("left_hip", z=6).turn("right_hip", z=-6)


def _jump() -> _Clip:
    clip = _Clip(48).arms_down()
    keys = ((0, 0), (0.2, 1), (0.35, 0), (0.5, -0.1), (0.65, 0.1), (0.8, 0.9))
    crouch = _curve(clip.phase, keys)
    bent, push = np.maximum(crouch, 0), np.exp(-(((clip.phase - 0.45) / 0.08) ** 2))
    for side, sign in _SIDES:
        clip.turn(f"{side}_hip", x=-60 * crouch, z=sign * 4).turn(f"{side}_knee", x=80 * bent)
        clip.turn(f"{side}_ankle", x=-22 * bent + 30 * push)
        reach = 40 * crouch - 150 * np.exp(-(((clip.phase - 0.45) / 0.14) ** 2))
        clip.turn(f"{side}_shoulder", z=-sign * 70).then(f"{side}_shoulder", 0, reach)
    clip.height = 0.32 * np.clip(1 - ((clip.phase - 0.46) / 0.14) ** 2, 0, None)
    return clip.turn("pelvis", x=18 * bent)


MOTIONS: dict[str, Callable[[], _Clip]] = {
    "walk": _walk,
    "squat": _squat,
    "wave": _wave,
    "raise_arms": _raise_arms,
    "twist_bend": _twist_bend,
    "jump": _jump,
}


def load_motion(name: str, body: Body | None = None) -> Motion:
    """A clip by name, for the template or for any body that has SMPL's joint names (others stay at rest)."""
    if name not in MOTIONS:
        raise BodyFileError(f"there is no motion '{name}'; there are {', '.join(MOTIONS)}")
    return _template_motion(name) if body is None else _make(name, body)


@cache
def _template_motion(name: str) -> Motion:
    return _make(name, load_body())


def _make(name: str, body: Body) -> Motion:
    clip = MOTIONS[name]()
    identity = np.tile(np.eye(3), (len(clip.phase), 1, 1))
    rotation = np.stack([clip.rotation.get(joint, identity) for joint in body.joint_names], 1)  # [T, J, 3, 3]
    transl = np.zeros((len(clip.phase), 3))
    transl[:, 1] = clip.height - _lowest(body, rotation)
    return Motion(FPS, _axis_angle(rotation).astype(np.float32), transl.astype(np.float32))


def _lowest(body: Body, rotation: np.ndarray) -> np.ndarray:
    """[T, J, 3, 3] -> [T] y of the lowest skinned vertex, without pose offsets."""
    joints = body.joints().astype(np.float64)
    turn, place = rotation.copy(), np.zeros(rotation.shape[:3])
    for j, parent in enumerate(body.parents):
        if parent < 0:
            place[:, j] = joints[j]
        else:
            place[:, j] = place[:, parent] + turn[:, parent] @ (joints[j] - joints[parent])
            turn[:, j] = turn[:, parent] @ rotation[:, j]
    row = turn[:, :, 1]  # [T, J, 3]: what makes the posed y
    shift = place[..., 1] - (row * joints).sum(-1)
    affine = np.concatenate([row, shift[..., None]], -1).astype(np.float32)  # [T, J, 4]
    points = np.concatenate([body.vertices, np.ones((len(body.vertices), 1), np.float32)], 1)
    return np.stack([((body.weights @ frame) * points).sum(1).min() for frame in affine])


def _curve(phase: np.ndarray, keys: tuple[tuple[float, float], ...]) -> np.ndarray:
    """A smooth periodic curve near (phase, value) keys: their polygon, cut to its first harmonics."""
    samples = np.interp(np.arange(256) / 256, [k[0] for k in keys], [k[1] for k in keys], period=1)
    spectrum = np.fft.rfft(samples)[: _HARMONICS + 1] / 256
    waves = np.exp(2j * np.pi * phase[:, None] * np.arange(_HARMONICS + 1))
    return 2 * (waves @ spectrum).real - spectrum[0].real


def _once(phase: np.ndarray) -> np.ndarray:
    return 0.5 - 0.5 * np.cos(2 * np.pi * phase)


def _smooth(x: np.ndarray) -> np.ndarray:
    x = x.clip(0, 1)
    return x * x * (3 - 2 * x)


def _rotate(axis: int, degrees: float | np.ndarray) -> np.ndarray:
    """[...] degrees about a coordinate axis -> [..., 3, 3]."""
    angle = np.radians(degrees)
    matrix = np.zeros((*np.shape(angle), 3, 3))
    i, j = (axis + 1) % 3, (axis + 2) % 3
    matrix[..., axis, axis] = 1
    matrix[..., i, i] = matrix[..., j, j] = np.cos(angle)
    matrix[..., j, i], matrix[..., i, j] = np.sin(angle), -np.sin(angle)
    return matrix


def _axis_angle(matrix: np.ndarray) -> np.ndarray:
    """[..., 3, 3] -> [..., 3] radians, for turns below 180 degrees."""
    skew = matrix - np.swapaxes(matrix, -1, -2)
    axis = np.stack([skew[..., 2, 1], skew[..., 0, 2], skew[..., 1, 0]], -1) / 2  # axis times sin
    sine = np.linalg.norm(axis, axis=-1)
    angle = np.arctan2(sine, (np.trace(matrix, axis1=-2, axis2=-1) - 1) / 2)
    return axis * np.where(sine > 1e-9, angle / np.maximum(sine, 1e-9), 1)[..., None]
