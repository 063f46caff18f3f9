"""Linear blend skinning in torch, forward and inverse, and SMPL's pose-dependent offsets."""

from __future__ import annotations

import torch
from torch import Tensor

from ..cuda.skin import skin_points
from .kinematics import axis_angle_to_matrix

_DAMPING = 1e-2  # of a blended matrix that has lost its volume; rotations have singular values of 1
_MIN_VOLUME = 1e-3  # determinant below which a blended matrix counts as lost


def skin(points: Tensor, weights: Tensor, transforms: Tensor) -> Tensor:
    """Rest -> posed, [..., N, 3] metres: x' = M_n x, M_n = sum_j w_nj A_j. points: [..., N, 3], weights: [N, J],
    transforms: [..., J, 4, 4]."""
    return skin_points(points, weights, transforms)


def inverse_skin(points: Tensor, weights: Tensor, transforms: Tensor) -> Tensor:
    """Posed -> rest, [..., N, 3] metres: x = M_n^-1 x'. Shapes as in `skin`.

    Where opposite rotations cancel, the blended 3x3 part B has no inverse; there the damped least-squares
    x = (B^T B + e I)^-1 B^T (x' - t) keeps the answer finite, and near the joint.
    """
    matrix = transforms[..., :3, :].flatten(-2).mT @ weights.mT  # [..., 12, N]: contiguous components
    a, b, c, tx, d, e, f, ty, g, h, i, tz = matrix.unbind(-2)
    x, y, z = (axis - shift for axis, shift in zip(points.unbind(-1), (tx, ty, tz)))
    ei_fh, ch_bi, bf_ce = e * i - f * h, c * h - b * i, b * f - c * e  # cofactors of the first row of B^-1
    volume = a * ei_fh + d * ch_bi + g * bf_ce
    lost = (volume < _MIN_VOLUME).expand(x.shape)
    scale = 1 / torch.where(volume < _MIN_VOLUME, torch.ones_like(volume), volume)
    rest = torch.stack(
        [
            (ei_fh * x + ch_bi * y + bf_ce * z) * scale,
            ((f * g - d * i) * x + (a * i - c * g) * y + (c * d - a * f) * z) * scale,
            ((d * h - e * g) * x + (b * g - a * h) * y + (a * e - b * d) * z) * scale,
        ],
        -1,
    )
    if lost.any():
        linear = torch.stack([a, b, c, d, e, f, g, h, i], -1).unflatten(-1, (3, 3)).expand(*x.shape, 3, 3)
        rest = rest.index_put((lost,), _damped(linear[lost], torch.stack([x, y, z], -1)[lost]))
    return rest


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


def _damped(linear: Tensor, shifted: Tensor) -> Tensor:
    normal = linear.mT @ linear + _DAMPING * torch.eye(3).to(linear)
    return torch.linalg.solve(normal, linear.mT @ shifted[..., None])[..., 0]
