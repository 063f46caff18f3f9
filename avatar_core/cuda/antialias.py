"""Silhouettes in a rasterised picture, smoothed by the part of each pixel that they cut off: what gives positions the
gradient that a raster lacks (Laine et al. 2020, "Modular Primitives for High-Performance Differentiable Rendering",
section 3.4).

Two neighbouring pixels that show different faces: where an edge of the nearer face passes between their centres, and is
a silhouette (no face goes on behind it, or it folds back), the pixel in which it passes takes the other's colour for
the part beyond it. nvdiffrast does the same on a GPU where it is installed.
"""

from __future__ import annotations

import torch
from torch import Tensor

from . import optional
from .loader import choose
from .raster import Raster

_SLACK = 1 / 16  # pixels by which an edge may pass a centre through rounding


def antialias(picture: Tensor, raster: Raster, positions: Tensor, faces: Tensor) -> Tensor:
    """`picture` [H, W, C] of a raster with smooth silhouettes; differentiable with respect to picture and positions.

    raster: `rasterise(positions, faces, H, W)`. positions: [V, 3] homogeneous pixels. faces: [F, 3] int64; faces that
    meet share their vertices, else their border is a silhouette. Raises ValueError for other shapes.
    """
    choose(picture, raster.face, positions, faces)
    if picture.dim() != 3 or picture.shape[:2] != raster.face.shape:
        raise ValueError(f"a picture of this raster is {tuple(raster.face.shape)} C, got {tuple(picture.shape)}")
    if positions.dim() != 2 or positions.shape[1] != 3 or faces.dim() != 2 or faces.shape[1] != 3:
        raise ValueError(f"positions [V, 3] and faces [F, 3], got {tuple(positions.shape)} and {tuple(faces.shape)}")
    by_nvdiffrast = optional.antialias(picture, raster, positions, faces)
    return antialias_reference(picture, raster, positions, faces) if by_nvdiffrast is None else by_nvdiffrast


def antialias_reference(picture: Tensor, raster: Raster, positions: Tensor, faces: Tensor) -> Tensor:
    """The definition, in PyTorch, for any float type and device."""
    height, width, channels = picture.shape
    if len(faces) == 0 or picture.numel() == 0:
        return picture
    corners = torch.cat([faces, opposite_vertices(faces)], 1)  # [F, 6]
    colours, face, depth = picture.reshape(-1, channels), raster.face.reshape(-1), raster.depth.reshape(-1)
    pixels = torch.arange(height * width, device=picture.device).view(height, width)
    result = colours
    for axis, first, second in ((0, pixels[:, :-1], pixels[:, 1:]), (1, pixels[:-1], pixels[1:])):
        a, b = first.reshape(-1), second.reshape(-1)
        differ = face[a] != face[b]
        a, b = a[differ], b[differ]
        own = torch.where(depth[b] < depth[a], b, a)  # the pixel of the nearer face
        side = torch.where(own == a, 1.0, -1.0).to(positions)
        shown = positions[corners[face[own]]]  # [N, 6, 3]
        centre = torch.stack([own % width, own // width], -1) + 0.5
        points = shown[..., :2] / shown[..., 2:] - centre[:, None]
        if axis:
            points = points.flip(-1)
        crossing = _crossing(points, side)
        seen = (crossing > -_SLACK) & (crossing < 1 + _SLACK) & (shown[..., 2] > 0).all(-1)
        a, b = a[seen], b[seen]
        share = (side[seen] * (0.5 - crossing[seen].clamp(0, 1))).to(picture)
        change = share[:, None] * (colours[b] - colours[a])
        result = result.index_add(0, torch.where(share > 0, a, b), change)
    return result.view(height, width, channels)


def opposite_vertices(faces: Tensor) -> Tensor:
    """[F, 3]: beyond the edge opposite of corner i, the third vertex of the other face; corner i itself where there is
    none."""
    ends = torch.stack([faces.roll(-1, 1), faces.roll(-2, 1)], -1).reshape(-1, 2)
    corners = faces.reshape(-1)
    keys, order = torch.sort(ends.amin(1) * (faces.max() + 1) + ends.amax(1), stable=True)
    pairs = (keys[1:] == keys[:-1]).nonzero()[:, 0]
    found = corners.clone()
    found[order[pairs]], found[order[pairs + 1]] = corners[order[pairs + 1]], corners[order[pairs]]
    return found.view(-1, 3)


def _crossing(points: Tensor, side: Tensor) -> Tensor:
    """Where the face's silhouette crosses the line to the neighbour: [N], pixels from the own centre; infinite where it
    does not. points: [N, 6, 2], corners and opposite vertices about the own centre. side: [N], the neighbour's."""
    corner, opposite = points[:, :3], points[:, 3:]
    one, two = corner.roll(-1, 1), corner.roll(-2, 1)  # the edge opposite of each corner
    run = two - one
    passes = (one[..., 1] < 0) != (two[..., 1] < 0)
    rise = torch.where(passes, run[..., 1], 1)
    at = side[:, None] * (one[..., 0] - one[..., 1] * run[..., 0] / rise)
    inner, outer = _cross(one - corner, two - corner), _cross(one - opposite, two - opposite)
    steep = run[..., 1].abs() >= run[..., 0].abs()  # flatter ones are seen by pixels along the other axis
    last = at.masked_fill(~passes, -torch.inf).max(1)  # where the line leaves the face
    index = last.indices[:, None]
    silhouette = (passes & steep & (inner * outer > 0)).gather(1, index)[:, 0]
    return torch.where(silhouette, at.gather(1, index)[:, 0], torch.inf)


def _cross(a: Tensor, b: Tensor) -> Tensor:
    return a[..., 0] * b[..., 1] - a[..., 1] * b[..., 0]
