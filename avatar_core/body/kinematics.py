"""Forward kinematics in torch: batched, differentiable, any floating type and device."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

_SMALL = 1e-4  # squared angle, radians^2, below which the series is used


def axis_angle_to_matrix(rotation: Tensor) -> Tensor:
    """[..., 3] axis times angle (radians) -> [..., 3, 3].

    Rodrigues: R = I + a K + b K^2 with K = [rotation]_x, t = |rotation|, a = sin(t) / t and
    b = (1 - cos(t)) / t^2; near zero a and b are their series in t^2, so that all derivatives exist there.
    """
    x, y, z = rotation.unbind(-1)
    t2 = (rotation * rotation).sum(-1)
    small = t2 < _SMALL
    t = torch.where(small, torch.ones_like(t2), t2).sqrt()
    a = torch.where(small, 1 - t2 / 6 + t2 * t2 / 120, t.sin() / t)
    half = (t / 2).sin() / t
    b = torch.where(small, 0.5 - t2 / 24 + t2 * t2 / 720, 2 * half * half)
    outer = b[..., None, None] * rotation[..., :, None] * rotation[..., None, :]
    c = 1 - b * t2  # cos(t)
    rows = [c, -a * z, a * y, a * z, c, -a * x, -a * y, a * x, c]
    return outer + torch.stack(rows, -1).unflatten(-1, (3, 3))


def relative_transforms(
    pose: Tensor, joints: Tensor, parents: Sequence[int] | np.ndarray | Tensor, transl: Tensor | None = None
) -> Tensor:
    """Transforms that map the rest body to the posed body, one a joint: [..., J, 4, 4].

    pose: [..., J, 3] axis-angle, radians, each joint relative to its parent. joints: [..., J, 3] rest joint
    centres, metres. parents: [J], root -1, each before its children. transl: [..., 3] metres, added last.

        G_j = G_parent(j) [R_j | J_j - J_parent(j)],   A_j = G_j [I | -J_j],   t(A_j) += transl

    The posed joint centres are A_j J_j. Chains are composed by doubling: log2(depth) batched products.
    """
    ancestors = _ancestor_rounds(tuple(int(p) for p in parents))
    parent = torch.as_tensor([max(int(p), 0) for p in parents], device=joints.device)
    is_root = torch.as_tensor([int(p) < 0 for p in parents], device=joints.device)
    rotation = axis_angle_to_matrix(pose)
    offset = joints - torch.where(is_root[:, None], torch.zeros_like(joints), joints[..., parent, :])
    batch = torch.broadcast_shapes(rotation.shape[:-3], offset.shape[:-2])
    rotation = rotation.expand(*batch, -1, -1, -1)
    translation = offset.to(rotation.dtype).expand(*batch, -1, -1)
    for round_ in ancestors:
        # compose every joint with the chain above it; index J stands for the identity above the root
        above = torch.as_tensor(round_, device=joints.device)
        up_r = torch.cat([rotation, torch.eye(3).to(rotation).expand(*batch, 1, 3, 3)], -3)[..., above, :, :]
        up_t = torch.cat([translation, translation.new_zeros(*batch, 1, 3)], -2)[..., above, :]
        translation = (up_r @ translation[..., None])[..., 0] + up_t
        rotation = up_r @ rotation
    shift = translation - (rotation @ joints.to(rotation.dtype)[..., None])[..., 0]
    if transl is not None:
        shift = shift + transl[..., None, :]
    top = torch.cat([rotation, shift[..., None]], -1)
    bottom = top.new_tensor([0.0, 0.0, 0.0, 1.0]).expand(*top.shape[:-2], 1, 4)
    return torch.cat([top, bottom], -2)


@lru_cache(maxsize=64)
def _ancestor_rounds(parents: tuple[int, ...]) -> tuple[tuple[int, ...], ...]:
    """For each round r the joint 2^r levels up (J where there is none), until every chain has ended."""
    count = len(parents)
    above = tuple(p if p >= 0 else count for p in parents)
    rounds = []
    while any(p < count for p in above):
        rounds.append(above)
        above = tuple(above[p] if p < count else count for p in above)
    return tuple(rounds)
