"""SMPL's pose-dependent offsets of the rest vertices, in torch."""

from __future__ import annotations

import torch
from torch import Tensor

from .kinematics import axis_angle_to_matrix


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
