"""Voxels that may hold something, and the samples of rays that cross them.

Two levels: rays step through cells of COARSE voxels first, and only cells that hold something are sampled finely. All
of it is plain tensor work; its cost is a few per cent of a frame.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

COARSE = 4  # voxels along a coarse cell
_BORDER = 3  # coarse cells around the points: dilated voxels, dilated cells, and an empty one
_MAX_VOXELS = 1 << 26


@dataclass(frozen=True)
class Samples:
    """Points on rays, packed: sorted by ray, then by distance.

    ray: [S] int64 index of the ray. distance: [S] metres along the ray. step: metres between samples.
    """

    ray: Tensor
    distance: Tensor
    step: float


@dataclass(frozen=True)
class OccupancyGrid:
    """fine: [X, Y, Z] bool; coarse: [X/4, Y/4, Z/4] bool, dilated by one cell; origin: [3] world metres. The outermost
    coarse cells are empty, so that a point up to a cell outside of the rest needs no test."""

    fine: Tensor
    coarse: Tensor
    origin: Tensor
    voxel: float

    @classmethod
    def around(cls, points: Tensor, voxel: float) -> OccupancyGrid:
        """The voxels that hold one of `points` [N, 3] (metres), and their 26 neighbours."""
        border = _BORDER * COARSE * voxel
        low = points.amin(0) - border
        cells = ((points.amax(0) + border - low) / voxel).long() + 1
        cells = (cells + COARSE - 1) // COARSE * COARSE
        if int(cells.prod()) > _MAX_VOXELS:  # a limb flung far away: coarser voxels instead of more of them
            return cls.around(points, 2 * voxel)
        fine = torch.zeros(tuple(cells.tolist()), dtype=torch.bool, device=points.device)
        index = ((points - low) / voxel).long()
        fine[index[:, 0], index[:, 1], index[:, 2]] = True
        fine = _dilate(fine)
        x, y, z = (side // COARSE for side in fine.shape)
        blocks = fine.view(x, COARSE, y, COARSE, z, COARSE)
        return cls(fine, _dilate(blocks.any(5).any(3).any(1)), low, voxel)

    def sample(self, origins: Tensor, directions: Tensor, step: float, jitter: Tensor | None = None) -> Samples:
        """Samples every `step` metres (at most) where rays [R, 3] cross occupied voxels.

        The step is rounded down so that a whole number of them fills a coarse cell. jitter: [R] in [0, 1), the place
        of the sample within its step; None puts it in the middle.
        """
        cell = COARSE * self.voxel
        count = max(1, -int(-cell // step))
        step = cell / count
        near, far = self._clip(origins, directions)
        rays = torch.nonzero(far > near).squeeze(1)
        if rays.numel() == 0:
            empty = near.new_zeros(0)
            return Samples(rays, empty, step)
        first = torch.floor(near[rays] / cell)  # cells start at multiples of the cell length along each ray
        last = torch.ceil(far[rays] / cell)
        cells = torch.arange(int((last - first).max()), device=near.device)
        middle = (first[:, None] + cells + 0.5) * cell  # [rays, cells]
        hit = self._lookup(self.coarse, cell, origins[rays, None] + middle[..., None] * directions[rays, None])
        which, number = torch.nonzero(hit & (cells < (last - first)[:, None]), as_tuple=True)
        ray = rays[which]
        offset = 0.5 if jitter is None else jitter[ray, None]
        inner = torch.arange(count, device=near.device) + offset
        distance = (first[which] + number)[:, None] * cell + inner * step  # [hits, count]
        points = origins[ray, None] + distance[..., None] * directions[ray, None]
        keep = self._lookup(self.fine, self.voxel, points) & (distance > 0)
        return Samples(ray[:, None].expand_as(keep)[keep], distance[keep], step)

    def _clip(self, origins: Tensor, directions: Tensor) -> tuple[Tensor, Tensor]:
        """Where rays enter and leave the grid's box: [R], [R]; far < near if they miss it."""
        cell = COARSE * self.voxel
        size = torch.tensor(self.coarse.shape, dtype=origins.dtype, device=origins.device)
        low, high = self.origin + cell, self.origin + (size - 1) * cell
        safe = torch.where(directions.abs() < 1e-9, torch.full_like(directions, 1e-9), directions)
        one, two = (low - origins) / safe, (high - origins) / safe
        return torch.minimum(one, two).amax(1).clamp(min=0), torch.maximum(one, two).amin(1)

    def _lookup(self, grid: Tensor, size: float, points: Tensor) -> Tensor:
        """grid [X, Y, Z] at points [..., 3], which lie inside of it (elsewhere the answer means nothing)."""
        index = ((points - self.origin) * (1 / size)).long()
        flat = (index[..., 0] * grid.shape[1] + index[..., 1]) * grid.shape[2] + index[..., 2]
        return grid.view(-1)[flat.clamp_(0, grid.numel() - 1)]


def _dilate(grid: Tensor) -> Tensor:
    pooled = torch.nn.functional.max_pool3d(grid.float()[None, None], 3, stride=1, padding=1)
    return pooled[0, 0] > 0
