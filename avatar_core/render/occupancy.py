"""Voxels that may hold something of a posed body."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from ..cuda.closest_point import TriangleBVH
from ..cuda.march import BRICK, Samples, march, pack_bricks

_BORDER = 4  # voxels around the points
_MAX_VOXELS = 1 << 26
_MAX_CENTRES = 1 << 22  # whose closest points are asked


@dataclass(frozen=True)
class OccupancyGrid:
    """fine: [X, Y, Z] bool, sides that 4 divides; origin: [3] world metres, its low corner; voxel: metres."""

    fine: Tensor
    origin: Tensor
    voxel: float

    @classmethod
    def around(cls, points: Tensor, voxel: float) -> OccupancyGrid:
        """The voxels that hold one of `points` [N, 3] (metres), and their 26 neighbours."""
        low, high = torch.aminmax(points, dim=0)  # a third of the time of one after the other
        low = low - _BORDER * voxel
        cells = ((high + _BORDER * voxel - low) / voxel).long() + 1
        cells = (cells + BRICK - 1) // BRICK * BRICK
        if int(cells.prod()) > _MAX_VOXELS:  # a limb flung far away: coarser voxels instead of more of them
            return cls.around(points, 2 * voxel)
        fine = torch.zeros(tuple(cells.tolist()), dtype=torch.bool, device=points.device)
        x, y, z = ((points - low) / voxel).int().unbind(1)  # their number is bounded, so 32 bits suffice
        fine.view(-1)[((x * fine.shape[1] + y) * fine.shape[2] + z).long()] = True
        return cls(_dilate(fine), low, voxel)

    @classmethod
    def near(cls, bvh: TriangleBVH, reach: float, voxel: float) -> OccupancyGrid:
        """The voxels that have a point within `reach` metres of a mesh."""
        low = bvh.vertices.amin(0) - reach - voxel
        cells = ((bvh.vertices.amax(0) + reach + voxel - low) / voxel).long() + 1
        cells = (cells + BRICK - 1) // BRICK * BRICK
        if int(cells.prod()) > _MAX_CENTRES:
            return cls.near(bvh, reach, 2 * voxel)
        sides = [torch.arange(int(count), device=low.device) for count in cells]
        centres = low + voxel * (torch.stack(torch.meshgrid(*sides, indexing="ij"), -1).reshape(-1, 3) + 0.5)
        distance2, _, _ = bvh.closest(centres, reach + voxel * 3**0.5 / 2)
        return cls(torch.isfinite(distance2).view(tuple(cells.tolist())), low, voxel)

    @cached_property
    def bricks(self) -> Tensor:
        """The voxels as bits."""
        return pack_bricks(self.fine)

    def sample(self, origins: Tensor, directions: Tensor, step: float, jitter: Tensor | None = None) -> Samples:
        """Samples every `step` metres where rays [R, 3] cross occupied voxels. jitter: [R] in [0, 1), the place of the
        sample within its step; None puts it in the middle."""
        return march(self.bricks, self.origin, self.voxel, origins, directions, step, jitter)


def _dilate(grid: Tensor) -> Tensor:
    """Occupied voxels and their 26 neighbours: those along one axis after another."""
    for axis, side in enumerate(grid.shape):
        wide = grid.clone()
        wide.narrow(axis, 1, side - 1).logical_or_(grid.narrow(axis, 0, side - 1))
        wide.narrow(axis, 0, side - 1).logical_or_(grid.narrow(axis, 1, side - 1))
        grid = wide
    return grid
