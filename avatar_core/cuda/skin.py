"""Linear blend skinning of one body: the reference in PyTorch, and the native kernel around it.

    x'_v = M_v x_v,   M_v = sum_k w_vk A_j(v, k)

Gradients: dx = B^T g with B the 3x3 part of M; dw_k = g . A_j(k) [x, 1]; dA_j = sum of w_k g [x, 1]^T.
"""

from __future__ import annotations

import ctypes

import torch
from torch import Tensor

from .loader import choose, kernels, pointer
from .threads import parallel

_PART = 1024  # points whose gradients to the transforms are summed together
_BLOCK = 256  # CUDA threads


def sparse_weights(weights: Tensor) -> tuple[Tensor, Tensor]:
    """Dense [V, J] as the K largest of each row, weights [V, K] and joints [V, K] int32: exact, since K is the largest
    number of non-zero weights in a row (at least 1)."""
    count = max(1, int((weights != 0).sum(1).max())) if len(weights) else 1
    joints = weights.abs().topk(min(count, weights.shape[1]), dim=1).indices
    return weights.gather(1, joints).contiguous(), joints.to(torch.int32).contiguous()


def skin_points(points: Tensor, weights: Tensor, transforms: Tensor, joints: Tensor | None = None) -> Tensor:
    """Posed points [V, 3], metres. Differentiable with respect to points, weights and transforms.

    points: [V, 3]. transforms: [J, 4, 4], of which the last row is not read. weights: [V, J], or [V, K] with the joints
    [V, K] int32 that they belong to. Raises ValueError. Native for float32, else the reference.
    """
    backend = _check(points, weights, transforms, joints)
    if backend == "reference" or points.dtype != torch.float32:
        return skin_points_reference(points, weights, transforms, joints)
    return _Skin.apply(points, weights, transforms, joints, backend)


def skin_points_reference(points: Tensor, weights: Tensor, transforms: Tensor, joints: Tensor | None = None) -> Tensor:
    """The definition, for any float type and device."""
    _check(points, weights, transforms, joints)
    if joints is None:
        matrix = (weights @ transforms.flatten(1)).unflatten(1, (4, 4))
    else:
        matrix = (weights[..., None, None] * transforms[joints.long()]).sum(1)
    return (matrix[:, :3, :3] * points[:, None]).sum(2) + matrix[:, :3, 3]


class _Skin(torch.autograd.Function):
    @staticmethod
    def forward(ctx, points, weights, transforms, joints, backend):  # type: ignore[no-untyped-def]
        points, weights, transforms = (tensor.contiguous() for tensor in (points, weights, transforms))
        joints = None if joints is None else joints.contiguous()
        out, count = torch.empty_like(points), ctypes.c_int(weights.shape[1])
        if backend == "cuda":
            from .device import launch

            grid = (-(-len(points) // _BLOCK), 1, 1)
            inputs = points, weights, joints, count, transforms, out, len(points)
            launch("skin", "skin_forward", grid, (_BLOCK, 1, 1), *inputs)
        else:
            named = pointer(points), pointer(weights), _optional(joints), count, pointer(transforms), pointer(out)
            parallel(kernels().skin_forward, named, len(points))
        ctx.save_for_backward(points, weights, transforms, joints)
        ctx.backend = backend
        return out

    @staticmethod
    def backward(ctx, grad: Tensor):  # type: ignore[no-untyped-def]
        points, weights, transforms, joints = ctx.saved_tensors
        grad, total, count = grad.contiguous(), len(points), ctypes.c_int(weights.shape[1])
        grad_points, grad_weights = torch.empty_like(points), torch.empty_like(weights)
        parts = 1 if ctx.backend == "cuda" else -(-total // _PART)
        sums = points.new_zeros(parts, len(transforms), 3, 4)
        if ctx.backend == "cuda":
            from .device import launch

            inputs = points, weights, joints, count, transforms, grad, total, grad_points, grad_weights, sums
            launch("skin", "skin_backward", (-(-total // _BLOCK), 1, 1), (_BLOCK, 1, 1), *inputs)
        else:
            sizes = (ctypes.c_longlong(value) for value in (total, _PART, len(transforms)))
            named = pointer(points), pointer(weights), _optional(joints), count, pointer(transforms), pointer(grad)
            outputs = pointer(grad_points), pointer(grad_weights), pointer(sums)
            parallel(kernels().skin_backward, (*named, *sizes, *outputs), parts, least=1)
        grad_transforms = torch.nn.functional.pad(sums.sum(0), (0, 0, 0, 1))
        return grad_points, grad_weights, grad_transforms, None, None


def _optional(tensor: Tensor | None) -> ctypes.c_void_p:
    return ctypes.c_void_p() if tensor is None else pointer(tensor)


def _check(points: Tensor, weights: Tensor, transforms: Tensor, joints: Tensor | None) -> str:
    """The backend."""
    if points.dim() != 2 or points.shape[1] != 3:
        raise ValueError(f"points must be [V, 3], got {tuple(points.shape)}")
    if transforms.dim() != 3 or transforms.shape[1:] != (4, 4):
        raise ValueError(f"transforms must be [J, 4, 4], got {tuple(transforms.shape)}")
    if weights.dim() != 2 or len(weights) != len(points) or (joints is None and weights.shape[1] != len(transforms)):
        wanted = (len(points), "K" if joints is not None else len(transforms))
        raise ValueError(f"weights must be {wanted}, got {tuple(weights.shape)}")
    if not points.is_floating_point() or not points.dtype == weights.dtype == transforms.dtype:
        raise ValueError(
            f"points, weights and transforms must have one float type, got {points.dtype}, {weights.dtype} and "
            f"{transforms.dtype}"
        )
    if joints is None:
        return choose(points, weights, transforms)
    if joints.dtype != torch.int32 or joints.shape != weights.shape:
        raise ValueError(f"joints must be {tuple(weights.shape)} int32, got {tuple(joints.shape)} {joints.dtype}")
    if joints.numel():
        values = joints.numpy() if joints.device.type == "cpu" else joints  # NumPy: no threads to wait for
        if int(values.min()) < 0 or int(values.max()) >= len(transforms):
            raise ValueError(f"joints point outside of the {len(transforms)} transforms")
    return choose(points, weights, transforms, joints)
