"""Z-buffer rasterisation of triangles and the interpolation of their attributes, both differentiable.

Positions are homogeneous pixels [V, 3]: (x w, y w, w), with x, y in pixels (the centre of the top left pixel at
(0.5, 0.5)) and w the planar depth in metres, not positive behind the camera. `homogeneous_pixels` makes them of world
points; for a picture in texture space they are (u width, v height, 1). Nothing is clipped, so triangles that cross the
camera's plane are right; the header explains how. A pixel belongs to the nearest face at its centre, of equally near
ones to the first; a shared edge's pixels to exactly one face (top-left rule). Both sides of a face are seen.

Gradients flow to positions within faces only: how a silhouette's move changes which face is seen has no gradient here;
`antialias.antialias` gives it one.
"""

from __future__ import annotations

import ctypes
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor

from ..camera import MAX_SIDE
from .arguments import pointer
from .loader import choose, kernels, run
from .threads import parallel, thread_count

if TYPE_CHECKING:
    from ..camera import Camera

_FRAGMENTS = 1 << 22  # pairs of a face and a pixel that the reference tests at once
_BLOCK = 256  # CUDA threads for pixels


class Raster(NamedTuple):
    """A picture of faces. face: [H, W] int64, -1 where empty. bary: [H, W, 3], perspective-correct, 0 where empty.
    depth: [H, W], planar, in the unit of w, infinite where empty."""

    face: Tensor
    bary: Tensor
    depth: Tensor


def homogeneous_pixels(points: Tensor, camera: Camera) -> Tensor:
    """World points [V, 3], metres, as positions for `rasterise`; differentiable. Raises ValueError for a camera with
    lens distortion: a triangle's edges would be curves."""
    if camera.distortion.any():
        raise ValueError("a camera with lens distortion cannot be rasterised; undistort its picture first")
    matrix = torch.from_numpy(camera.K @ camera.world_to_camera[:3]).to(points)
    return points @ matrix[:, :3].T + matrix[:, 3]


def rasterise(positions: Tensor, faces: Tensor, height: int, width: int) -> Raster:
    """The faces seen at each pixel; barycentrics and depth are differentiable with respect to positions.

    positions: [V, 3] homogeneous pixels. faces: [F, 3] integers; those with a corner that is not finite, or without
    area, are not drawn. Native for float32, else the reference. Raises ValueError for other shapes, devices and sizes.
    """
    backend = choose(positions, faces)
    if positions.dim() != 2 or positions.shape[1] != 3 or not positions.is_floating_point():
        raise ValueError(f"positions must be [V, 3] floats, got {tuple(positions.shape)} {positions.dtype}")
    if not (0 <= height <= MAX_SIDE and 0 <= width <= MAX_SIDE):
        raise ValueError(f"a picture has 0 to {MAX_SIDE} pixels a side, got {width}x{height}")
    faces = _checked(faces, len(positions))
    if backend == "reference" or positions.dtype != torch.float32:
        return rasterise_reference(positions, faces, height, width)
    return Raster(*_Rasterise.apply(positions, faces, height, width, backend))


def interpolate(attributes: Tensor, faces: Tensor, face: Tensor, bary: Tensor) -> Tensor:
    """Attributes at a raster's pixels: [H, W, C], 0 where empty; differentiable with respect to attributes and bary.

    attributes: [V, C] floats. faces: [F, 3] integers, rows of attributes: the raster's faces, or as many others, such
    as those of a texture's coordinates. face, bary: the raster's. Raises ValueError.
    """
    backend = choose(attributes, faces, face, bary)
    if attributes.dim() != 2 or not attributes.is_floating_point():
        raise ValueError(f"attributes must be [V, C] floats, got {tuple(attributes.shape)} {attributes.dtype}")
    if face.dtype != torch.int64 or face.dim() != 2 or bary.shape != (*face.shape, 3):
        raise ValueError(
            f"a raster has faces [H, W] int64 and barycentrics [H, W, 3], got {tuple(face.shape)} {face.dtype} and "
            f"{tuple(bary.shape)}"
        )
    if bary.dtype != attributes.dtype:
        raise ValueError(f"attributes and barycentrics must have one type, got {attributes.dtype} and {bary.dtype}")
    faces = _checked(faces, len(attributes))
    if face.numel() and _extreme(face, "max") >= len(faces):
        raise ValueError(f"the raster shows a face outside of the {len(faces)} faces")
    if backend == "reference" or attributes.dtype != torch.float32:
        return interpolate_reference(attributes, faces, face, bary)
    return _Interpolate.apply(attributes, faces, face, bary, backend)


def rasterise_reference(positions: Tensor, faces: Tensor, height: int, width: int) -> Raster:
    """The definition, in PyTorch, for any float type and device."""
    face = _visible(positions.detach(), faces, height, width)
    corners = positions[faces[face.clamp(min=0)]] if len(faces) else positions.new_zeros(height, width, 3, 3)
    empty = face < 0
    corners = torch.where(empty[..., None, None], torch.eye(3).to(corners), corners)
    edges, determinant = _edges(corners.double())
    weights = (edges * _centres(height, width, positions.device)[..., None, :]).sum(-1) / determinant[..., None]
    total = weights.sum(-1)
    bary = (weights / total[..., None]).masked_fill(empty[..., None], 0).to(positions)
    return Raster(face, bary, (1 / total).masked_fill(empty, torch.inf).to(positions))


def interpolate_reference(attributes: Tensor, faces: Tensor, face: Tensor, bary: Tensor) -> Tensor:
    """The definition, in PyTorch, for any float type and device."""
    if len(faces) == 0:
        return attributes.new_zeros(*face.shape, attributes.shape[1])
    mixed = (attributes[faces[face.clamp(min=0)]] * bary[..., None]).sum(-2)
    return torch.where((face < 0)[..., None], 0, mixed)


def _edges(corners: Tensor) -> tuple[Tensor, Tensor]:
    """Of corners [..., 3, 3]: the planes edge[i] of the header [..., 3, 3] without its sign, determinants [...]."""
    edges = torch.linalg.cross(corners.roll(-1, -2), corners.roll(-2, -2))
    return edges, (edges[..., 0, :] * corners[..., 0, :]).sum(-1)


def _centres(height: int, width: int, device: torch.device) -> Tensor:
    y, x = torch.meshgrid(*(torch.arange(side, device=device) for side in (height, width)), indexing="ij")
    return torch.stack([x + 0.5, y + 0.5, torch.ones_like(x)], -1).double()


def _visible(positions: Tensor, faces: Tensor, height: int, width: int) -> Tensor:
    """[H, W] int64: all pairs of a face and a pixel in its box are tested, and the nearest pair of each pixel wins."""
    corners = positions[faces].double()  # [F, 3, 3]
    edges, determinant = _edges(corners)
    seen = corners.isfinite().all(-1).all(-1) & (determinant != 0)
    edges = edges * determinant.sign()[:, None, None]
    ties = (edges[..., 0] > 0) | ((edges[..., 0] == 0) & (edges[..., 1] > 0))  # left and top edges
    first, end = _boxes(corners, height, width)
    size = (end - first).clamp(min=0) * seen[:, None]
    chosen = size.prod(-1).nonzero()[:, 0]
    first, size, areas = first[chosen], size[chosen], size[chosen].prod(-1)
    nearest = positions.new_zeros(height * width)
    face = torch.full((height * width,), len(faces), device=positions.device)
    bounds = areas.cumsum(0)
    start = 0
    while start < len(chosen):
        done = bounds[start - 1] if start else 0
        stop = max(start + 1, int(torch.searchsorted(bounds, done + _FRAGMENTS)))
        index = torch.repeat_interleave(torch.arange(start, stop, device=faces.device), areas[start:stop])
        within = torch.arange(len(index), device=faces.device) - (bounds - areas)[index] + done
        x, y = first[index, 0] + within % size[index, 0], first[index, 1] + within // size[index, 0]
        ids = chosen[index]
        edge = edges[ids]
        weights = edge[..., 0] * (x + 0.5)[:, None] + (edge[..., 1] * (y + 0.5)[:, None] + edge[..., 2])
        inverse = (weights.sum(-1) / determinant[ids].abs()).to(positions.dtype)
        covered = ((weights > 0) | ((weights == 0) & ties[ids])).all(-1) & (inverse > 0) & (inverse < 3e38)
        pixel, ids, inverse = (y * width + x)[covered], ids[covered], inverse[covered]
        before = nearest.clone()
        nearest.scatter_reduce_(0, pixel, inverse, "amax")
        face[nearest > before] = len(faces)
        won = (inverse == nearest[pixel]) & (inverse > before[pixel])
        face.scatter_reduce_(0, pixel[won], ids[won], "amin")
        start = stop
    return face.masked_fill(face == len(faces), -1).view(height, width)


def _boxes(corners: Tensor, height: int, width: int) -> tuple[Tensor, Tensor]:
    """First and end pixels (x, y) [F, 2] that faces may cover: all, for a face with corners on both sides of the
    camera's plane."""
    front = corners[..., 2] > 0  # [F, 3]
    pixels = corners[..., :2] / corners[..., 2:]
    sides = torch.tensor([width, height], device=corners.device)
    low, high = ((edge.nan_to_num(0.0) + 0.5) for edge in (pixels.amin(1) - 1e-3, pixels.amax(1) + 1e-3))
    zero = torch.zeros_like(low)
    first, end = (torch.minimum(torch.maximum(edge, zero), sides).long() for edge in (low, high))
    return torch.where(front.all(-1)[:, None], first, 0), torch.where(
        front.all(-1)[:, None], end, sides * front.any(-1)[:, None]
    )


class _Rasterise(torch.autograd.Function):
    @staticmethod
    def forward(ctx, positions: Tensor, faces: Tensor, height: int, width: int, backend: str):  # type: ignore[no-untyped-def]
        positions, count = positions.contiguous(), len(faces)
        face = torch.empty(height, width, dtype=torch.int64, device=positions.device)
        bary, depth = positions.new_empty(height, width, 3), positions.new_empty(height, width)
        if backend == "cuda":
            from .device import launch

            keys = torch.zeros_like(face)
            launch("raster", "raster_draw", (count, 1, 1), (32, 4, 1), positions, faces, width, height, keys)
            grid = -(-face.numel() // _BLOCK), 1, 1
            results = face, bary, depth
            launch(
                "raster", "raster_resolve", grid, (_BLOCK, 1, 1), positions, faces, keys, width, face.numel(), *results
            )
        else:
            boxes = faces.new_empty(count, 4, dtype=torch.int32)
            shared = pointer(positions), pointer(faces)
            sides = ctypes.c_int(width), ctypes.c_int(height)
            parallel(kernels().raster_boxes, (*shared, *sides, pointer(boxes)), count, least=1 << 15)
            arguments = *shared, pointer(boxes), ctypes.c_longlong(count), sides[0]
            outputs = pointer(face), pointer(bary), pointer(depth)
            parallel(kernels().raster_rows, (*arguments, *outputs), height, least=16)
        ctx.save_for_backward(positions, faces, face, bary, depth)
        ctx.backend = backend
        ctx.mark_non_differentiable(face)
        return face, bary, depth

    @staticmethod
    def backward(ctx, _: Tensor, grad_bary: Tensor, grad_depth: Tensor):  # type: ignore[no-untyped-def]
        positions, faces, face, bary, depth = ctx.saved_tensors
        shares = torch.empty_like(bary)
        gradients = grad_bary.contiguous(), grad_depth.contiguous()
        arguments = positions, faces, face, bary, depth, *gradients, shares
        run(ctx.backend, "raster", "raster_backward", arguments, face.numel())
        return _to_vertices(ctx.backend, positions, faces, face, bary, shares), None, None, None, None


class _Interpolate(torch.autograd.Function):
    @staticmethod
    def forward(ctx, attributes: Tensor, faces: Tensor, face: Tensor, bary: Tensor, backend: str) -> Tensor:  # type: ignore[no-untyped-def]
        attributes, face, bary = attributes.contiguous(), face.contiguous(), bary.contiguous()
        out = attributes.new_empty(*face.shape, attributes.shape[1])
        channels = ctypes.c_int(attributes.shape[1])
        run(backend, "raster", "raster_interpolate", (attributes, faces, face, bary, channels, out), face.numel())
        ctx.save_for_backward(attributes, faces, face, bary)
        ctx.backend = backend
        return out

    @staticmethod
    def backward(ctx, grad: Tensor):  # type: ignore[no-untyped-def]
        attributes, faces, face, bary = ctx.saved_tensors
        grad, grad_attributes, grad_bary = grad.contiguous(), None, None
        if ctx.needs_input_grad[0]:
            grad_attributes = _to_vertices(ctx.backend, attributes, faces, face, bary, grad)
        if ctx.needs_input_grad[3]:
            grad_bary = torch.empty_like(bary)
            arguments = attributes, faces, face, grad, ctypes.c_int(attributes.shape[1]), grad_bary
            run(ctx.backend, "raster", "raster_interpolate_bary", arguments, face.numel())
        return grad_attributes, None, None, grad_bary, None


def _to_vertices(backend: str, like: Tensor, faces: Tensor, face: Tensor, bary: Tensor, grad: Tensor) -> Tensor:
    """Each vertex's sum [V, C] of grad [H, W, C] weighted by barycentrics."""
    total = torch.zeros_like(like)
    if backend == "cuda":
        channels = ctypes.c_int(like.shape[1])
        run(backend, "raster", "raster_interpolate_vertices", (faces, face, bary, grad, channels, total), face.numel())
    else:
        numbers = ctypes.c_longlong(face.numel()), ctypes.c_int(like.shape[1])
        arguments = pointer(faces), pointer(face), pointer(bary), pointer(grad), *numbers, pointer(total)
        share = -(-len(like) // thread_count())  # each range looks at every pixel: no more of them than threads
        parallel(kernels().raster_interpolate_vertices, arguments, len(like), least=max(2048, share))
    return total


def _checked(faces: Tensor, count: int) -> Tensor:
    """faces as contiguous int64 within `count` vertices."""
    if faces.dim() != 2 or faces.shape[1] != 3 or faces.is_floating_point() or faces.dtype == torch.bool:
        raise ValueError(f"faces must be [F, 3] integers, got {tuple(faces.shape)} {faces.dtype}")
    if len(faces) and (_extreme(faces, "min") < 0 or _extreme(faces, "max") >= count):
        raise ValueError(f"faces point outside of the {count} vertices")
    return faces.long().contiguous()


def _extreme(values: Tensor, which: str) -> int:
    """The least or greatest number; by NumPy on the CPU, where PyTorch's threads cost more than the work."""
    return int(getattr(values.numpy() if values.device.type == "cpu" else values, which)())
