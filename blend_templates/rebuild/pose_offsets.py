"""Pose offsets: what SMPL learnt from scans, fitted here to dual-quaternion skinning, which keeps volume.

For each joint alone: random rotations within its range; the offsets, in the rest frame, that take linear
blend skinning most of the way to dual-quaternion skinning, smoothed on the surface; a ridge regression on the
nine features R - I.
"""

from __future__ import annotations

import numpy as np
from scipy import sparse
from scipy.spatial.transform import Rotation

from avatar_core.body.joints import SMPL_JOINTS, SMPL_PARENTS
from avatar_core.body.template import fold_regressor, fold_weights

from .assemble import Assembly
from .weights import neighbour_average

_RANGES = {  # degrees about x, y, z
    "hip": (100, 40, 40),
    "knee": (125, 15, 10),
    "ankle": (45, 20, 25),
    "foot": (40, 5, 5),
    "spine1": (35, 30, 25),
    "spine2": (35, 30, 25),
    "spine3": (35, 30, 25),
    "neck": (35, 45, 30),
    "head": (35, 45, 30),
    "collar": (10, 25, 30),
    "shoulder": (60, 95, 85),
    "elbow": (35, 135, 15),
    "wrist": (60, 35, 65),
}
_ORDER = (
    1,
    2,
    4,
    5,
    3,
    6,
    9,
    7,
    8,
    10,
    11,
    12,
    15,
    13,
    14,
    16,
    17,
    18,
    19,
    20,
    21,
)  # fixes the random numbers
_SAMPLES = 48
_SHARE = 0.75  # of the way from linear to dual-quaternion skinning
_RIDGE = 2e-2
_LEAST = 4e-4  # metres: vertices that never move further get no offsets
_SMOOTH_STEPS = 4
_MAX_TURN = np.radians(140)


def fit_pose_offsets(body: Assembly, seed: int = 0) -> np.ndarray:
    """[V, 3, 207] float32, metres."""
    rng = np.random.default_rng(seed)
    rest = body.space.template
    weights = fold_weights(body.weights)
    joints = fold_regressor(body.regressor) @ rest
    average = neighbour_average(body.quads, len(rest))
    posedirs = np.zeros((len(rest), 3, 207), np.float32)
    for j in _ORDER:
        features, targets = [], []
        for _ in range(_SAMPLES):
            rotation = _random_rotation(rng, j)
            transforms = _one_joint_turned(joints, j, rotation)
            features.append((rotation - np.eye(3)).ravel())
            targets.append(_wanted_offsets(rest, weights, transforms, average))
        x, y = np.array(features), np.array(targets)
        active = np.abs(y).max((0, 2)) > _LEAST
        normal = x.T @ x + _RIDGE * _SAMPLES * np.eye(9)
        solution = np.linalg.solve(normal, x.T @ y[:, active].reshape(_SAMPLES, -1)).reshape(9, -1, 3)
        posedirs[active, :, (j - 1) * 9 : j * 9] = np.moveaxis(solution, 0, 2)
    return posedirs


def _random_rotation(rng: np.random.Generator, j: int) -> np.ndarray:
    name = SMPL_JOINTS[j]
    limits = np.array(_RANGES[name.removeprefix("left_").removeprefix("right_")])
    degrees = rng.uniform(-1, 1, 3) * limits
    if "knee" in name:
        degrees[0] = rng.uniform(-5, limits[0])
    elif "hip" in name:
        degrees[0] = rng.uniform(-limits[0], 35)
    elif name == "left_elbow":
        degrees[1] = rng.uniform(-limits[1], 5)
    elif name == "right_elbow":
        degrees[1] = rng.uniform(-5, limits[1])
    vector = np.radians(degrees)
    return Rotation.from_rotvec(vector * min(1, _MAX_TURN / max(1e-6, np.linalg.norm(vector)))).as_matrix()


def _wanted_offsets(
    rest: np.ndarray, weights: np.ndarray, transforms: np.ndarray, average: sparse.csr_matrix
) -> np.ndarray:
    """[V, 3] offsets in the rest frame for one turned joint."""
    matrix = np.einsum("vj,jab->vab", weights, transforms)
    linear = np.einsum("vab,vb->va", matrix[:, :, :3], rest) + matrix[:, :, 3]
    offset = _SHARE * (_dual_quaternion_skin(rest, weights, transforms) - linear)
    for _ in range(_SMOOTH_STEPS):
        offset = 0.5 * offset + 0.5 * (average @ offset)
    return np.einsum("vba,vb->va", matrix[:, :, :3], offset)


def _one_joint_turned(joints: np.ndarray, j: int, rotation: np.ndarray) -> np.ndarray:
    """[24, 3, 4] transforms from rest: the joint and all below turn about its centre, the others stay."""
    transforms = np.tile(np.eye(3, 4), (len(joints), 1, 1))
    turned = np.zeros(len(joints), bool)
    for k, parent in enumerate(SMPL_PARENTS):
        turned[k] = k == j or (parent >= 0 and turned[parent])
    transforms[turned, :, :3] = rotation
    transforms[turned, :, 3] = joints[j] - rotation @ joints[j]
    return transforms


def _dual_quaternion_skin(rest: np.ndarray, weights: np.ndarray, transforms: np.ndarray) -> np.ndarray:
    real = Rotation.from_matrix(transforms[:, :, :3]).as_quat()[:, [3, 0, 1, 2]]
    real[real[:, 0] < 0] *= -1
    shift = np.concatenate([np.zeros((len(transforms), 1)), transforms[:, :, 3]], 1)
    dual = 0.5 * _product(shift, real)
    real, dual = weights @ real, weights @ dual
    norm = np.linalg.norm(real, axis=1, keepdims=True)
    real, dual = real / norm, dual / norm
    rotation = Rotation.from_quat(real[:, [1, 2, 3, 0]]).as_matrix()
    shift = 2 * _product(dual, real * np.array([1, -1, -1, -1]))[:, 1:]
    return np.einsum("vab,vb->va", rotation, rest) + shift


def _product(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Quaternions, w first."""
    aw, ax, ay, az = np.moveaxis(a, -1, 0)
    bw, bx, by, bz = np.moveaxis(b, -1, 0)
    return np.stack(
        [
            aw * bw - ax * bx - ay * by - az * bz,
            aw * bx + ax * bw + ay * bz - az * by,
            aw * by - ax * bz + ay * bw + az * bx,
            aw * bz + ax * by - ay * bx + az * bw,
        ],
        -1,
    )
