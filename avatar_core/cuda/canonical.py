"""From points near a posed mesh to the canonical pose: the reference in PyTorch, and the native kernel around it.

Neural Actor, eq. 3-5: the closest point of the posed surface carries skinning weights; the inverse of their blended
transform takes the point to the canonical pose. The blended transform itself is interpolated over the triangle, which
is the same (blending is linear in the weights) and cheaper.
"""

from __future__ import annotations

import torch
from torch import Tensor

from .loader import choose, run

_MIN_VOLUME = 1e-9  # determinant below which a transform counts as having this one


def canonical_points(
    points: Tensor, distance2: Tensor, face: Tensor, bary: Tensor, surface: Tensor, faces: Tensor
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Canonical points [N, 3] (metres), height [N] (metres from the surface, positive outside), facing [N] (upward part
    of the surface normal) and the closest triangles' corners [N, 3] int64.

    points: [N, 3] world metres; distance2 [N] (m^2, infinite where there is none: an infinite height, and nothing else
    means anything), face [N] int64 and bary [N, 3] of the closest points. surface: [V, 21] per vertex: blended
    transform (12, rows), canonical offset (3), normal (3), place (3). faces: [F, 3] int64 in range. Raises
    ValueError. Native for float32 without gradients, else the reference.
    """
    floats = points, distance2, bary, surface
    backend = _check(points, distance2, face, bary, surface, faces)
    graph = torch.is_grad_enabled() and any(tensor.requires_grad for tensor in floats)
    if backend == "reference" or graph or points.dtype != torch.float32:
        return canonical_points_reference(points, distance2, face, bary, surface, faces)
    points, distance2, bary, surface = (tensor.contiguous() for tensor in floats)
    face, faces, count = face.contiguous(), faces.contiguous(), len(points)
    canonical, height, facing = points.new_empty(count, 3), points.new_empty(count), points.new_empty(count)
    vertices = torch.empty_like(points, dtype=torch.int64)
    tensors = surface, faces, face, bary, points, distance2, canonical, height, facing, vertices
    run(backend, "canonical", "canonical_points", tensors, count)
    return canonical, height, facing, vertices


def canonical_points_reference(
    points: Tensor, distance2: Tensor, face: Tensor, bary: Tensor, surface: Tensor, faces: Tensor
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """The definition, for any float type and device."""
    vertices = faces[face]
    at = torch.nn.functional.embedding_bag(vertices, surface, per_sample_weights=bary, mode="sum")
    matrices = at[:, :12].view(-1, 3, 4)
    inverse = _invert(matrices[:, :, :3])
    canonical = (inverse @ (points - matrices[:, :, 3])[..., None]).squeeze(-1) - at[:, 12:15]
    outside = ((points - at[:, 18:21]) * at[:, 15:18]).sum(1) >= 0
    outside |= torch.isinf(distance2)
    height = torch.where(outside, 1.0, -1.0) * distance2.clamp(min=0).sqrt()
    return canonical, height, at[:, 16], vertices


def _invert(matrix: Tensor) -> Tensor:
    """Inverse of [N, 3, 3] by cofactors: many times faster than a batched solver at this size."""
    a, b, c = matrix.unbind(2)
    bc, ca, ab = torch.linalg.cross(b, c), torch.linalg.cross(c, a), torch.linalg.cross(a, b)
    volume = (a * bc).sum(1, keepdim=True)
    volume = torch.where(volume.abs() < _MIN_VOLUME, torch.full_like(volume, _MIN_VOLUME), volume)
    return torch.stack([bc, ca, ab], 1) / volume[..., None]


def _check(points: Tensor, distance2: Tensor, face: Tensor, bary: Tensor, surface: Tensor, faces: Tensor) -> str:
    """The backend."""
    count = len(points)
    shapes = [tuple(tensor.shape) for tensor in (points, distance2, face, bary)]
    if shapes != [(count, 3), (count,), (count,), (count, 3)]:
        raise ValueError(f"points, distance2, face and bary must be [N, 3], [N], [N] and [N, 3], got {shapes}")
    if surface.dim() != 2 or surface.shape[1] != 21 or faces.dim() != 2 or faces.shape[1] != 3:
        raise ValueError(
            f"surface must be [V, 21] and faces [F, 3], got {tuple(surface.shape)} and {tuple(faces.shape)}"
        )
    if not (points.is_floating_point() and points.dtype == distance2.dtype == bary.dtype == surface.dtype):
        raise ValueError(f"points and surface must have one float type, got {points.dtype} and {surface.dtype}")
    if face.dtype != torch.int64 or faces.dtype != torch.int64:
        raise ValueError(f"face and faces must be int64, got {face.dtype} and {faces.dtype}")
    for name, indices, top in (("face", face, len(faces)), ("faces", faces if count else face, len(surface))):
        if indices.numel():
            values = indices.numpy() if indices.device.type == "cpu" else indices  # NumPy: no threads to wait for
            if int(values.min()) < 0 or int(values.max()) >= top:
                raise ValueError(f"{name} points outside of its {top} rows")
    return choose(points, distance2, face, bary, surface, faces)
