"""Rotations and transforms of a skeleton's joints by the kernels: float32, on the CPU or a GPU, with gradients.

What they compute, and for any float type, is defined in avatar_core/body/kinematics.py, which calls them.
"""

from __future__ import annotations

import ctypes
from functools import lru_cache

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from .loader import run

_SHARES = {"block": 128, "least": 256}  # rotations or bodies


def rotations(pose: Tensor, backend: str) -> Tensor:
    """[..., 3] axis times angle -> [..., 3, 3]. backend: 'native' or 'cuda', as `loader.choose` says."""
    return _Rotations.apply(pose, backend)


def chains(pose: Tensor, joints: Tensor, parents: tuple[int, ...], transl: Tensor, backend: str) -> Tensor:
    """pose, joints: [B, J, 3]; parents: J, root -1; transl: [B, 3] -> transforms [B, J, 4, 4]. Raises ValueError for a
    parent that does not come before its child, or another number of parents."""
    return _Chains.apply(pose, joints, transl, parent_indices(parents, pose.shape[1], pose.device), backend)


@lru_cache(maxsize=64)
def parent_indices(parents: tuple[int, ...], count: int, device: torch.device) -> Tensor:
    """[count] int32 for the kernels. Raises ValueError for parents that are no tree, as of `chains`."""
    if len(parents) != count or any(not -1 <= parent < joint for joint, parent in enumerate(parents)):
        raise ValueError(f"parents must be -1 (root) or an earlier joint for each of {count} joints, got {parents}")
    with torch.inference_mode(False):  # the tensor outlives this call
        return torch.tensor(parents, dtype=torch.int32, device=device)


class _Rotations(torch.autograd.Function):
    @staticmethod
    def forward(ctx, pose: Tensor, backend: str) -> Tensor:  # type: ignore[no-untyped-def]
        pose = pose.contiguous()
        out = pose.new_empty(*pose.shape, 3)
        run(backend, "kinematics", "kinematics_rotations", (pose, out), pose.numel() // 3, **_SHARES)
        ctx.save_for_backward(pose)
        ctx.backend = backend
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx, grad: Tensor):  # type: ignore[no-untyped-def]
        (pose,) = ctx.saved_tensors
        out = torch.empty_like(pose)
        run(
            ctx.backend,
            "kinematics",
            "kinematics_rotations_backward",
            (pose, grad.contiguous(), out),
            pose.numel() // 3,
            **_SHARES,
        )
        return out, None


class _Chains(torch.autograd.Function):
    @staticmethod
    def forward(ctx, pose: Tensor, joints: Tensor, transl: Tensor, parents: Tensor, backend: str) -> Tensor:  # type: ignore[no-untyped-def]
        pose, joints, transl = (tensor.contiguous() for tensor in (pose, joints, transl))
        transforms = pose.new_empty(*pose.shape[:2], 4, 4)
        arguments = pose, joints, parents, ctypes.c_int(len(parents)), transl, transforms
        run(backend, "kinematics", "kinematics_chains", arguments, len(pose), **_SHARES)
        ctx.save_for_backward(pose, joints, parents, transforms)
        ctx.backend = backend
        return transforms

    @staticmethod
    @once_differentiable
    def backward(ctx, grad: Tensor):  # type: ignore[no-untyped-def]
        pose, joints, parents, transforms = ctx.saved_tensors
        grad_pose, grad_joints = torch.empty_like(pose), torch.empty_like(joints)
        grad_transl = pose.new_zeros(len(pose), 3)
        inputs = pose, joints, parents, ctypes.c_int(len(parents)), transforms
        outputs = grad.clone(memory_format=torch.contiguous_format), grad_pose, grad_joints, grad_transl
        run(ctx.backend, "kinematics", "kinematics_chains_backward", (*inputs, *outputs), len(pose), **_SHARES)
        return grad_pose, grad_joints, grad_transl, None, None
