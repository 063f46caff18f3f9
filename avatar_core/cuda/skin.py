"""Linear blend skinning: the reference in PyTorch, and the kernel around it. One pass over the mesh does pose
correctives, blended transforms and points, for all bodies of a batch.

    x'_v = M_v x_v,   M_v = sum_k w_vk A_j(v, k),   x_v = p_v + sum_f c_f d_vf

and its inverse, x_v = M_v^-1 x'_v, without correctives.

Gradients of the former: dp = dx = B^T g with B the 3x3 part of M; dc_f = sum_v d_vf . dx_v; dw_k = g . A_j(k) [x, 1];
dA_j = sum of w_k g [x, 1]^T.
"""

from __future__ import annotations

import ctypes
import math
from typing import NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from .arguments import pointer
from .correctives import BLOCK, Correctives
from .loader import choose, kernels
from .threads import parallel

_LANES = 16  # as in skin.cpp
_LEAST = 48  # blocks of vertices, times bodies, that are worth a thread
_LEAST_VOLUME, _DAMPING = 1e-3, 1e-2  # as in skin.h
_SUMS = 64  # sums over parts of the mesh, times bodies, that the backward pass keeps apart


def sparse_weights(weights: Tensor) -> tuple[Tensor, Tensor]:
    """Dense [V, J] as the K largest of each row, weights [V, K] and joints [V, K] int32: exact, since K is the largest
    number of non-zero weights in a row (at least 1)."""
    count = max(1, int((weights != 0).sum(1).max())) if len(weights) else 1
    joints = weights.abs().topk(min(count, weights.shape[1]), dim=1).indices
    return weights.gather(1, joints).contiguous(), joints.to(torch.int32).contiguous()


def skin_points(
    points: Tensor,
    weights: Tensor,
    transforms: Tensor,
    joints: Tensor | None = None,
    correctives: Correctives | None = None,
    features: Tensor | None = None,
) -> Tensor:
    """Posed points [..., V, 3], metres. Differentiable with respect to points, weights, transforms and features.

    points: [..., V, 3] at rest. transforms: [..., J, 4, 4], of which the last row is not read. weights: [V, J], or
    [V, K] with the joints [V, K] int32 that they belong to. features: [..., F], how much of each of the correctives is
    added to the points. Leading sides are broadcast. Raises ValueError. float32 by the kernels, else the reference.
    """
    backend = check(points, weights, transforms, joints, correctives, features)
    if backend == "reference" or points.dtype != torch.float32:
        return skin_points_reference(points, weights, transforms, joints, correctives, features)
    return _apply("skin_points", backend, points, weights, transforms, joints, correctives, features)


def skin_points_reference(
    points: Tensor,
    weights: Tensor,
    transforms: Tensor,
    joints: Tensor | None = None,
    correctives: Correctives | None = None,
    features: Tensor | None = None,
) -> Tensor:
    """The definition, for any float type and device."""
    check(points, weights, transforms, joints, correctives, features)
    if correctives is not None and features is not None:
        points = points + torch.einsum("vdf,...f->...vd", correctives.unpack().to(points), features)
    matrix = blend(weights, transforms, joints)
    return (matrix[..., :3, :3] @ points[..., None])[..., 0] + matrix[..., :3, 3]


def blend(weights: Tensor, transforms: Tensor, joints: Tensor | None = None) -> Tensor:
    """M_v = sum_k w_vk A_j(v, k), [..., V, 4, 4], in PyTorch; weights and joints as in `skin_points`."""
    if joints is None:
        return (weights @ transforms.flatten(-2)).unflatten(-1, (4, 4))
    return (weights[..., None, None] * transforms[..., joints.long(), :, :]).sum(-3)


def unskin_points(points: Tensor, weights: Tensor, transforms: Tensor, joints: Tensor | None = None) -> Tensor:
    """Posed points [..., V, 3] back to rest: x = M_v^-1 x'. Arguments, gradients and errors as of `skin_points`.

    Where opposite rotations cancel, the 3x3 part B has no inverse; there the damped least squares
    x = (B^T B + e I)^-1 B^T (x' - t) keep the answer finite, and near the joint.
    """
    backend = check(points, weights, transforms, joints, None, None)
    if backend == "reference" or points.dtype != torch.float32:
        return unskin_points_reference(points, weights, transforms, joints)
    return _apply("skin_unpoints", backend, points, weights, transforms, joints)


def unskin_points_reference(
    points: Tensor, weights: Tensor, transforms: Tensor, joints: Tensor | None = None
) -> Tensor:
    """The definition, for any float type and device."""
    check(points, weights, transforms, joints, None, None)
    matrix = blend(weights, transforms, joints)
    linear, shifted = matrix[..., :3, :3], points - matrix[..., :3, 3]
    eye = torch.eye(3).to(linear)
    lost = (_cofactors(linear)[1] < _LEAST_VOLUME)[..., None, None]
    left = torch.where(lost, linear.mT @ linear + _DAMPING * eye, linear)
    right = torch.where(lost, linear.mT, eye)
    rows, volume = _cofactors(left)
    return (rows / volume[..., None, None] @ right @ shifted[..., None])[..., 0]


def _cofactors(matrix: Tensor) -> tuple[Tensor, Tensor]:
    """Of [..., 3, 3]: the inverse times the determinant, and the determinant [...]; solvers know no half precision."""
    a, b, c = matrix.unbind(-1)
    rows = torch.stack([torch.linalg.cross(b, c), torch.linalg.cross(c, a), torch.linalg.cross(a, b)], -2)
    return rows, (a * rows[..., 0, :]).sum(-1)


def _apply(
    name: str,
    backend: str,
    points: Tensor,
    weights: Tensor,
    transforms: Tensor,
    joints: Tensor | None,
    correctives: Correctives | None = None,
    features: Tensor | None = None,
) -> Tensor:
    """Leading sides become one, of the bodies; points that all bodies share stay [V, 3]."""
    batch = _batch(points, transforms, features)
    bodies = math.prod(batch)
    if points.dim() > 2:
        points = points.expand(*batch, -1, -1).reshape(bodies, *points.shape[-2:])
    transforms = transforms.expand(*batch, -1, -1, -1).reshape(bodies, *transforms.shape[-3:])
    coefficients = None
    if correctives is not None and features is not None:
        coefficients = (features * correctives.steps).expand(*batch, -1).reshape(bodies, len(correctives.steps))
    out = _Skin.apply(points, weights, transforms, coefficients, joints, correctives, name, backend)
    return out.view(*batch, *out.shape[1:])


def _batch(points: Tensor, transforms: Tensor, features: Tensor | None) -> torch.Size:
    """The leading sides of all."""
    sides = points.shape[:-2], transforms.shape[:-3], torch.Size() if features is None else features.shape[:-1]
    try:
        return torch.broadcast_shapes(*sides)
    except RuntimeError as error:
        raise ValueError(
            f"leading sides must be broadcastable, got {', '.join(map(str, map(tuple, sides)))}"
        ) from error


class _Sizes(NamedTuple):
    bodies: int
    vertices: int
    point_stride: int
    influences: int
    joint_count: int
    feature_count: int


class Inputs(ctypes.Structure):
    """Skin in skin.h."""

    _fields_ = (
        *((name, ctypes.c_void_p) for name in ("points", "weights", "joints", "transforms")),
        *((name, ctypes.c_void_p) for name in ("values", "features", "first", "coefficients")),
        *((name, ctypes.c_longlong) for name in _Sizes._fields),
    )


def describe(
    points: Tensor,
    weights: Tensor,
    transforms: Tensor,
    coefficients: Tensor | None,
    joints: Tensor | None,
    correctives: Correctives | None,
) -> tuple[Inputs, _Sizes]:
    """What the kernels read; the tensors must be contiguous, and outlive it."""
    moved = correctives is not None and coefficients is not None
    vertices = points.shape[-2]
    sizes = _Sizes(
        len(transforms),
        vertices,
        3 * vertices if points.dim() == 3 else 0,
        weights.shape[1],
        transforms.shape[1],
        coefficients.shape[1] if coefficients is not None else 0,
    )
    packed = (correctives.values, correctives.features, correctives.first) if moved and correctives else (None,) * 3
    tensors = points, weights, joints, transforms, *packed, coefficients
    return Inputs(*(None if tensor is None else tensor.data_ptr() for tensor in tensors), *sizes), sizes


class _Skin(torch.autograd.Function):
    @staticmethod
    def forward(ctx, points, weights, transforms, coefficients, joints, correctives, name, backend):  # type: ignore[no-untyped-def]
        points, weights, transforms = (tensor.contiguous() for tensor in (points, weights, transforms))
        coefficients = None if coefficients is None else coefficients.contiguous()
        joints = None if joints is None else joints.contiguous()
        inputs, sizes = describe(points, weights, transforms, coefficients, joints, correctives)
        out = points.new_empty(sizes.bodies, sizes.vertices, 3)
        blocks = -(-sizes.vertices // BLOCK)
        if backend == "cuda":
            from .device import launch

            launch("skin", name, (sizes.bodies, blocks, 1), (BLOCK, 1, 1), inputs, out)
        else:
            least = max(1, _LEAST // max(1, sizes.bodies))
            parallel(getattr(kernels(), name), (ctypes.byref(inputs), pointer(out)), blocks, least)
        ctx.save_for_backward(points, weights, transforms, coefficients, joints)
        ctx.correctives, ctx.name, ctx.backend = correctives, name + "_backward", backend
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx, grad: Tensor):  # type: ignore[no-untyped-def]
        points, weights, transforms, coefficients, joints = ctx.saved_tensors
        inputs, sizes = describe(points, weights, transforms, coefficients, joints, ctx.correctives)
        grad, blocks = grad.contiguous(), -(-sizes.vertices // BLOCK)
        parts = 1 if ctx.backend == "cuda" else max(1, min(blocks, max(2, _SUMS // max(1, sizes.bodies))))
        lanes = 1 if ctx.backend == "cuda" else _LANES
        grad_points = torch.zeros_like(points)
        grad_weights = torch.zeros_like(weights) if ctx.needs_input_grad[1] else None
        grad_transforms = points.new_zeros(parts, *transforms.shape)
        grad_coefficients = points.new_zeros(parts, *coefficients.shape, lanes) if ctx.needs_input_grad[3] else None
        outputs = grad_points, grad_weights, grad_transforms, grad_coefficients
        if ctx.backend == "cuda":
            from .device import launch

            launch("skin", ctx.name, (sizes.bodies, blocks, 1), (BLOCK, 1, 1), inputs, grad, *outputs)
        else:
            part_blocks = ctypes.c_longlong(-(-blocks // parts))
            native = (ctypes.c_void_p() if tensor is None else pointer(tensor) for tensor in outputs)
            parallel(
                getattr(kernels(), ctx.name),
                (ctypes.byref(inputs), pointer(grad), part_blocks, *native),
                parts,
                least=1,
            )
        summed = None if grad_coefficients is None else grad_coefficients.sum((0, 3))
        return grad_points, grad_weights, grad_transforms.sum(0), summed, None, None, None, None


def check(
    points: Tensor,
    weights: Tensor,
    transforms: Tensor,
    joints: Tensor | None,
    correctives: Correctives | None,
    features: Tensor | None,
) -> str:
    """The backend for arguments of `skin_points`; raises ValueError for those that it would refuse."""
    if points.dim() < 2 or points.shape[-1] != 3:
        raise ValueError(f"points must be [..., V, 3], got {tuple(points.shape)}")
    if transforms.dim() < 3 or transforms.shape[-2:] != (4, 4):
        raise ValueError(f"transforms must be [..., J, 4, 4], got {tuple(transforms.shape)}")
    vertices, joint_count = points.shape[-2], transforms.shape[-3]
    if weights.dim() != 2 or len(weights) != vertices or (joints is None and weights.shape[1] != joint_count):
        wanted = (vertices, "K" if joints is not None else joint_count)
        raise ValueError(f"weights must be {wanted}, got {tuple(weights.shape)}")
    floats = [points, weights, transforms, *([] if features is None else [features])]
    if not points.is_floating_point() or len({tensor.dtype for tensor in floats}) != 1:
        raise ValueError(
            f"points, weights, transforms and features must have one float type, got "
            f"{', '.join(str(tensor.dtype) for tensor in floats)}"
        )
    _batch(points, transforms, features)
    if (correctives is None) != (features is None):
        raise ValueError("correctives and features go together")
    tensors = floats
    if correctives is not None and features is not None:
        if correctives.vertices != vertices or features.shape[-1:] != correctives.steps.shape:
            raise ValueError(
                f"features must be [..., {len(correctives.steps)}] for {correctives.vertices} vertices, got "
                f"{tuple(features.shape)} for {vertices}"
            )
        tensors = [*tensors, correctives.values]
    if joints is None:
        return choose(*tensors)
    if joints.dtype != torch.int32 or joints.shape != weights.shape:
        raise ValueError(f"joints must be {tuple(weights.shape)} int32, got {tuple(joints.shape)} {joints.dtype}")
    if joints.numel():
        values = joints.numpy() if joints.device.type == "cpu" else joints  # NumPy: no threads to wait for
        if int(values.min()) < 0 or int(values.max()) >= joint_count:
            raise ValueError(f"joints point outside of the {joint_count} transforms")
    return choose(*tensors, joints)
