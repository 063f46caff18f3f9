"""Samples of rays that cross occupied voxels, packed: sample k of a ray lies at (k + jitter) step and exists where its
voxel is occupied. The kernel leaps over empty bricks of 4 x 4 x 4 voxels; the definition, in PyTorch, tries spans of
steps in bricks first. Both keep exactly the samples whose own voxel is occupied."""

from __future__ import annotations

import ctypes
from dataclasses import dataclass

import torch
from torch import Tensor

from .arguments import pointer
from .loader import choose, kernels
from .threads import parallel

BRICK = 4  # voxels along a brick
_BLOCK = 128  # CUDA threads
_GATHER = sum(1 << (56 - 7 * k) for k in range(8))
_CHUNK = 1 << 22  # spans and rays that the reference looks at together


@dataclass(frozen=True)
class Samples:
    """Points on R rays, packed: sorted by ray, then by distance.

    ray: [S] int64 index of the ray. distance: [S] along the ray, in lengths of its direction (metres if that is 1).
    start: [R + 1] int64, samples of ray r are start[r] to start[r + 1]. step: between samples.
    """

    ray: Tensor
    distance: Tensor
    start: Tensor
    step: float


class _Grid(ctypes.Structure):
    _fields_ = (
        ("bricks", ctypes.c_void_p),
        ("size", ctypes.c_int * 3),
        ("low", ctypes.c_float * 3),
        ("voxel", ctypes.c_float),
        ("step", ctypes.c_float),
    )


def pack_bricks(occupied: Tensor) -> Tensor:
    """Voxels [X, Y, Z] bool, sides that 4 divides, as bits: [X/4, Y/4, Z/4] int64."""
    if occupied.dim() != 3 or occupied.dtype != torch.bool or any(side % BRICK for side in occupied.shape):
        raise ValueError(f"voxels must be [X, Y, Z] bool, multiples of {BRICK}, got {tuple(occupied.shape)}")
    x, y, z = (side // BRICK for side in occupied.shape)
    fours = occupied.contiguous().view(torch.int32).view(x, BRICK, y, BRICK, z).permute(0, 2, 4, 1, 3)
    eight = fours.contiguous().view(-1).view(torch.int64)  # voxels, a byte each: the product has number k at bit 56 + k
    return ((eight * _GATHER) >> 56).to(torch.uint8).view(torch.int64).view(x, y, z)


def march(
    bricks: Tensor,
    low: Tensor,
    voxel: float,
    origins: Tensor,
    directions: Tensor,
    step: float,
    jitter: Tensor | None = None,
) -> Samples:
    """Samples of rays in occupied voxels; nothing is differentiable.

    bricks: [X, Y, Z] int64 of `pack_bricks`. low: [3] corner of the grid. voxel: side. origins, directions: [R, 3],
    directions of about unit length; one that is zero or not finite has no samples. step: between samples, in lengths of
    the direction. jitter: [R] in [0, 1), where samples lie within their steps; None is the middle. Samples beyond 2^24
    steps do not exist. Raises ValueError.
    """
    tensors = (bricks, low, origins, directions, *(() if jitter is None else (jitter,)))
    backend = choose(*tensors)
    if bricks.dim() != 3 or bricks.dtype != torch.int64:
        raise ValueError(f"bricks must be [X, Y, Z] int64, got {tuple(bricks.shape)} {bricks.dtype}")
    if origins.dim() != 2 or origins.shape[1] != 3 or directions.shape != origins.shape or low.shape != (3,):
        raise ValueError(
            f"rays must be two [R, 3] and low [3], got {tuple(origins.shape)}, {tuple(directions.shape)} and "
            f"{tuple(low.shape)}"
        )
    if jitter is not None and jitter.shape != origins.shape[:1]:
        raise ValueError(f"jitter must be [{len(origins)}], got {tuple(jitter.shape)}")
    floats = {tensor.dtype for tensor in tensors[1:]}
    if len(floats) != 1 or not origins.is_floating_point():
        raise ValueError(f"low, rays and jitter must have one float type, got {sorted(map(str, floats))}")
    if not (step > 0 and voxel > 0):
        raise ValueError(f"step and voxel must be positive, got {step} and {voxel}")
    with torch.no_grad():
        if backend == "reference" or origins.dtype != torch.float32:
            return march_reference(bricks, low, voxel, origins, directions, step, jitter)
        bricks, origins, directions = bricks.contiguous(), origins.contiguous(), directions.contiguous()
        jitter = None if jitter is None else jitter.contiguous()
        grid = _Grid(bricks.data_ptr(), tuple(bricks.shape), tuple(low.tolist()), voxel, step)
        rays = len(origins)
        start = torch.zeros(rays + 1, dtype=torch.int64, device=origins.device)
        count = torch.empty(rays, dtype=torch.int64, device=origins.device)
        _run("march_count", grid, (origins, directions, jitter, count))
        torch.cumsum(count, 0, out=start[1:])
        total = int(start[-1])
        ray = torch.empty(total, dtype=torch.int64, device=origins.device)
        distance = origins.new_empty(total)
        _run("march_fill", grid, (origins, directions, jitter, start, ray, distance))
        return Samples(ray, distance, start, step)


def march_reference(
    bricks: Tensor,
    low: Tensor,
    voxel: float,
    origins: Tensor,
    directions: Tensor,
    step: float,
    jitter: Tensor | None = None,
) -> Samples:
    """The definition, for any float type and device. Spans of steps shorter than a brick are tried in their middle,
    among bricks that are occupied or next to one that is."""
    near, far = (edge / step for edge in _clip(bricks, low, voxel, origins, directions))
    offset = torch.full_like(near, 0.5) if jitter is None else jitter.nan_to_num(0.0).clamp(0, 1)
    rays = torch.nonzero(far > near).squeeze(1)
    longest = float(directions[rays].norm(dim=1).amax()) if rays.numel() else 1.0
    span = max(1, int(BRICK * voxel / (step * longest)))
    first = (near[rays].floor().long() - 1).clamp(min=0)
    spans = (far[rays].ceil().long() + 1 - first) // span + 1
    solid = torch.nn.functional.max_pool3d((bricks != 0).float()[None, None], 3, stride=1, padding=1)[0, 0] > 0
    found_rays, found = [rays[:0]], [near[:0]]
    chunk = max(1, _CHUNK // int(spans.amax())) if rays.numel() else 1
    inner = torch.arange(span, device=rays.device)
    for part, begin, number in zip(rays.split(chunk), first.split(chunk), spans.split(chunk), strict=True):
        index = torch.arange(int(number.amax()) if len(part) else 0, device=rays.device)
        k = begin[:, None] + index * span  # [rays, spans]: first sample of each
        middle = (k + (span - 1) / 2 + offset[part, None]) * step
        places = (origins[part, None] + middle[..., None] * directions[part, None] - low) / (BRICK * voxel)
        hit = _lookup(solid, places) & (index < number[:, None])
        which, column = torch.nonzero(hit, as_tuple=True)
        ray = part[which]
        distance = (k[which, column][:, None] + inner + offset[ray, None]) * step  # [hits, span]
        places = (origins[ray, None] + distance[..., None] * directions[ray, None] - low) / voxel
        keep = _occupied(bricks, places) & (distance > 0)
        found_rays.append(ray[:, None].expand_as(keep)[keep])
        found.append(distance[keep])
    ray = torch.cat(found_rays)
    count = torch.bincount(ray, minlength=len(origins))
    start = torch.nn.functional.pad(torch.cumsum(count, 0), (1, 0))
    return Samples(ray, torch.cat(found), start, step)


def _clip(bricks: Tensor, low: Tensor, voxel: float, origins: Tensor, directions: Tensor) -> tuple[Tensor, Tensor]:
    """Where rays enter and leave the grid's box: [R], [R]; not near < far if they miss it or are no rays."""
    size = torch.tensor(bricks.shape, dtype=origins.dtype, device=origins.device)
    high = low + size * (BRICK * voxel)
    still = directions == 0
    safe = torch.where(still, torch.ones_like(directions), directions)
    one, two = (low - origins) / safe, (high - origins) / safe
    inside = (origins >= low) & (origins < high)
    near = torch.where(still, 0.0, torch.minimum(one, two)).amax(1).clamp(min=0)
    far = torch.where(still, torch.where(inside, torch.inf, -1.0), torch.maximum(one, two)).amin(1)
    valid = torch.isfinite(origins).all(1) & torch.isfinite(directions).all(1) & ~still.all(1)
    return torch.where(valid, near, 0.0), torch.where(valid, far, -1.0)


def _lookup(grid: Tensor, places: Tensor) -> Tensor:
    """grid [X, Y, Z] at places [..., 3] in its cells; outside, the nearest cell."""
    size = torch.tensor(grid.shape, device=places.device)
    x, y, z = places.floor().long().clamp(min=0).minimum(size - 1).unbind(-1)
    return grid[x, y, z]


def _occupied(bricks: Tensor, places: Tensor) -> Tensor:
    """The bits at places [..., 3], in voxels."""
    size = torch.tensor(bricks.shape, device=places.device) * BRICK
    cell = places.floor().long()
    inside = ((cell >= 0) & (cell < size)).all(-1)
    x, y, z = cell.clamp(min=0).minimum(size - 1).unbind(-1)
    word = bricks[x // BRICK, y // BRICK, z // BRICK]
    bit = (x % BRICK * BRICK + y % BRICK) * BRICK + z % BRICK
    return ((word >> bit & 1) == 1) & inside


def _run(name: str, grid: _Grid, arguments: tuple[Tensor | None, ...]) -> None:
    origins = arguments[0]
    assert origins is not None
    rays = len(origins)
    if origins.is_cuda:
        from .device import launch

        launch("march", name, (-(-rays // _BLOCK), 1, 1), (_BLOCK, 1, 1), grid, *arguments, rays)
        return
    native = [None if argument is None else pointer(argument) for argument in arguments]
    parallel(getattr(kernels(), name), (ctypes.byref(grid), *native), rays, least=256)
