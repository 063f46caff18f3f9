"""Forward kinematics: batched, differentiable, any floating type and device. float32 goes through the kernels where
there are some; the definitions here are what those are checked against."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

from ..cuda.kinematics import chains, rotations
from ..cuda.loader import choose

_SMALL = 1e-4  # squared angle, radians^2, below which the series is used


def axis_angle_to_matrix(rotation: Tensor) -> Tensor:
    """[..., 3] axis times angle (radians) -> [..., 3, 3].

    Rodrigues: R = I + a K + b K^2 with K = [rotation]_x, t = |rotation|, a = sin(t) / t and
    b = (1 - cos(t)) / t^2; near zero a and b are their series in t^2, so that all derivatives exist there. The second
    derivatives only for other types than float32. Raises ValueError for another last side.
    """
    if rotation.shape[-1:] != (3,):
        raise ValueError(f"rotations must be [..., 3] axis times angle, got {tuple(rotation.shape)}")
    backend = choose(rotation)
    if rotation.dtype == torch.float32 and backend != "reference":
        return rotations(rotation, backend)
    return axis_angle_to_matrix_reference(rotation)


def axis_angle_to_matrix_reference(rotation: Tensor) -> Tensor:
    """The definition in torch."""
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

    The posed joint centres are A_j J_j. Raises ValueError for other shapes, and for tensors on several devices.
    """
    tree = tuple(int(parent) for parent in parents)
    sides = (len(tree), 3)
    if pose.shape[-2:] != sides or joints.shape[-2:] != sides:
        raise ValueError(
            f"pose and joints must be [..., {len(tree)}, 3] for as many parents, got {tuple(pose.shape)} and "
            f"{tuple(joints.shape)}"
        )
    shift = pose.new_zeros(3) if transl is None else transl
    try:
        batch = torch.broadcast_shapes(pose.shape[:-2], joints.shape[:-2], shift.shape[:-1])
    except RuntimeError as error:
        shapes = ", ".join(str(tuple(tensor.shape)) for tensor in (pose, joints, shift))
        raise ValueError(f"leading sides of pose, joints and transl must be broadcastable, got {shapes}") from error
    tensors = pose, joints, shift
    backend = choose(*tensors)
    if backend == "reference" or any(tensor.dtype != torch.float32 for tensor in tensors):
        return relative_transforms_reference(pose, joints, tree, transl)
    poses, centres = (tensor.expand(*batch, *sides).reshape(-1, *sides) for tensor in (pose, joints))
    return chains(poses, centres, tree, shift.expand(*batch, 3).reshape(-1, 3), backend).view(*batch, len(tree), 4, 4)


def relative_transforms_reference(
    pose: Tensor, joints: Tensor, parents: tuple[int, ...], transl: Tensor | None = None
) -> Tensor:
    """The definition in torch. Chains are composed by doubling: log2(depth) batched products."""
    chain = _chain(parents, joints.device)
    above_joints = torch.cat([joints, torch.zeros_like(joints[..., :1, :])], -2)[..., chain[0], :]
    rotation = axis_angle_to_matrix_reference(pose)
    offset = joints - above_joints
    batch = torch.broadcast_shapes(rotation.shape[:-3], offset.shape[:-2])
    rotation = rotation.expand(*batch, -1, -1, -1)
    translation = offset.to(rotation.dtype).expand(*batch, -1, -1)
    for above in chain:  # compose every joint with what is composed above it
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
def _chain(parents: tuple[int, ...], device: torch.device) -> tuple[Tensor, ...]:
    """The joint 2^r levels up, for each round r until every chain has ended; J stands for above a root."""
    count = len(parents)
    above = tuple(p if p >= 0 else count for p in parents)
    rounds: list[tuple[int, ...]] = []
    while not rounds or any(p < count for p in above):
        rounds.append(above)
        above = tuple(above[p] if p < count else count for p in above)
    with torch.inference_mode(False):  # the tensors outlive this call, and may be needed for gradients then
        return tuple(torch.tensor(r, device=device) for r in rounds)
