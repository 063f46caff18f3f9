"""Linear blend skinning in torch, forward and inverse, and SMPL's pose-dependent offsets."""

from __future__ import annotations

import torch
from torch import Tensor

from .kinematics import axis_angle_to_matrix

_DAMPING = 1e-2  # of a blended matrix that has lost its volume; rotations have singular values of 1
_MIN_VOLUME = 1e-3  # determinant below which a blended matrix counts as lost


def blend(weights: Tensor, transforms: Tensor) -> Tensor:
    """M_n = sum_j w_nj A_j: [N, J] and [..., J, 4, 4] -> [..., N, 4, 4]."""
    return (weights @ transforms.flatten(-2)).unflatten(-1, (4, 4))


def skin(points: Tensor, weights: Tensor, transforms: Tensor) -> Tensor:
    """Rest -> posed, [..., N, 3] metres: x' = M_n x, with M of `blend`. points: [..., N, 3], weights: [N, J],
    transforms: [..., J, 4, 4]."""
    matrix = blend(weights, transforms)
    return (matrix[..., :3, :3] @ points[..., None])[..., 0] + matrix[..., :3, 3]


def inverse_skin(points: Tensor, weights: Tensor, transforms: Tensor) -> Tensor:
    """Posed -> rest, [..., N, 3] metres: x = M_n^-1 x'. Shapes as in `skin`.

    Where opposite rotations cancel, the blended 3x3 part B has no inverse; there the damped least-squares
    x = (B^T B + e I)^-1 B^T (x' - t) keeps the answer finite, and near the joint.
    """
    matrix = blend(weights, transforms)
    linear = matrix[..., :3, :3]
    shifted = points - matrix[..., :3, 3]
    cofactor = _cofactors(linear)
    volume = (linear[..., 0, :] * cofactor[..., 0, :]).sum(-1)
    lost = volume < _MIN_VOLUME
    safe = torch.where(lost, torch.ones_like(volume), volume)
    result = (cofactor.mT @ shifted[..., None])[..., 0] / safe[..., None]
    if lost.any():
        result = torch.where(lost[..., None], _damped(linear, shifted), result)
    return result


def pose_features(pose: Tensor) -> Tensor:
    """What SMPL's pose offsets are linear in, [..., (J - 1) * 9]: the rotations of all joints but the root
    minus identity, row-major. pose: [..., J, 3] axis-angle, radians."""
    rotation = axis_angle_to_matrix(pose[..., 1:, :])
    return (rotation - torch.eye(3).to(rotation)).flatten(-3)


def pose_offsets(pose: Tensor, posedirs: Tensor) -> Tensor:
    """Offsets of the rest vertices, [..., V, 3] metres, to add before skinning.

    pose: [..., J, 3]; posedirs: [V, 3, (J - 1) * 9].
    """
    return (pose_features(pose) @ posedirs.flatten(0, 1).mT).unflatten(-1, (-1, 3))


def _cofactors(matrix: Tensor) -> Tensor:
    """[..., 3, 3] -> [..., 3, 3]: the rows are cross products of the other two rows; inverse = cofactors^T /
    det."""
    a, b, c = matrix.unbind(-2)
    return torch.stack([b.cross(c, dim=-1), c.cross(a, dim=-1), a.cross(b, dim=-1)], -2)


def _damped(linear: Tensor, shifted: Tensor) -> Tensor:
    normal = linear.mT @ linear + _DAMPING * torch.eye(3).to(linear)
    return torch.linalg.solve(normal, linear.mT @ shifted[..., None])[..., 0]
