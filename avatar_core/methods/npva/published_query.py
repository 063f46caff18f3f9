"""The points around samples as the released code finds them: whoever it visits first, not always the nearest.

Space is cut into voxels. Of a ray's samples the first `SLOTS` near an occupied voxel count. A sample looks at its own
voxel, then at the shells of voxels around it, up to three; it stops after the shell with which it has seen K points
within the radius, and takes the K nearest of them. A voxel holds 25 points; the one of the first point none. Here
whoever comes first by index stays, where the released code leaves it to chance. Memory grows with the points alone:
voxels are sorted keys, and a row of voxels along z is one run of them.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

VOXEL = 1.0  # mm
SHELLS = 3
SLOTS = 16  # samples of a ray
HELD = 25  # points of a voxel
VOXELS = 550_000  # that hold points
_MARGIN = 3.5  # voxels around all points
_PAIRS = 1 << 22  # of samples and points at once


class Found(NamedTuple):
    """rays: [R] bool, those with neighbours; the rest is of those R' alone. indices: [R', SLOTS, K] int64, -1 for none.
    places: [R', SLOTS, 3], 0 where there is no sample. samples: [R', SLOTS] int64, which sample of its ray each is, -1
    for none."""

    rays: Tensor
    indices: Tensor
    places: Tensor
    samples: Tensor


class VoxelRows:
    """Points [N, 3], mm, sorted by voxel."""

    def __init__(self, points: Tensor, voxel: float = VOXEL) -> None:
        self.points, self.voxel = points, voxel
        self.low = points.amin(0) - _MARGIN * voxel
        high = points.amax(0) + _MARGIN * voxel
        self.sides = ((high - self.low) / voxel).ceil().long()
        keys = self._keys(self._cells(points))
        self.voxels, inverse = keys.unique(return_inverse=True)
        first = keys.new_full((len(self.voxels),), len(points)).scatter_reduce(
            0, inverse, torch.arange(len(points), device=points.device), "amin"
        )
        turn = torch.empty_like(first)
        turn[first.argsort()] = torch.arange(len(first), device=points.device)  # by their first points
        self.voxels = self.voxels[turn < VOXELS]
        order = inverse.argsort(stable=True)
        starts = torch.searchsorted(inverse[order].contiguous(), torch.arange(len(first), device=points.device))
        place = torch.arange(len(points), device=points.device) - starts[inverse[order]]
        turns = turn[inverse[order]]
        order = order[(place < HELD) & (turns > 0) & (turns < VOXELS)]
        self.order, self.sorted = order, keys[order].contiguous()

    def near(self, places: Tensor) -> Tensor:
        """[S] whether an occupied voxel is within SHELLS of each place [S, 3]."""
        cells = self._cells(places)
        found = torch.zeros(len(places), dtype=torch.bool, device=places.device)
        inside = ((cells >= 0) & (cells < self.sides)).all(1).nonzero()[:, 0]
        for first, last in self._runs(cells[inside], SHELLS):
            some = torch.searchsorted(self.voxels, first) < torch.searchsorted(self.voxels, last, right=True)
            found[inside] |= some
        return found

    def nearest(self, places: Tensor, count: int, radius: float) -> Tensor:
        """[S, count] int64 of places [S, 3], -1 where there are fewer."""
        result = torch.full((len(places), count), -1, device=places.device)
        left = torch.arange(len(places), device=places.device)
        for shell in range(SHELLS + 1):
            enough = []
            for part in left.split(max(1, _PAIRS // (64 * (2 * shell + 1) ** 2))):
                seen = self._shell(places, part, shell, radius)
                sample, point = seen[0], seen[1]
                begin = torch.searchsorted(sample, torch.arange(len(part), device=places.device))
                rank = torch.arange(len(sample), device=places.device) - begin[sample]
                kept = rank < count
                result[part[sample[kept]], rank[kept]] = point[kept]
                enough.append(torch.bincount(sample, minlength=len(part)) >= count)
            left = left[~torch.cat(enough)] if enough else left
        return result

    def _shell(self, places: Tensor, part: Tensor, shell: int, radius: float) -> tuple[Tensor, Tensor]:
        """Pairs within the radius, of all voxels up to a shell: the sample, rising, and its points, nearest first."""
        samples, found = [], []
        for first, last in self._runs(self._cells(places[part]), shell):
            begin, end = torch.searchsorted(self.sorted, first), torch.searchsorted(self.sorted, last, right=True)
            size = end - begin
            sample = torch.arange(len(part), device=places.device).repeat_interleave(size)
            within = torch.arange(len(sample), device=places.device) - (size.cumsum(0) - size)[sample]
            samples.append(sample)
            found.append(self.order[begin[sample] + within])
        sample, point = torch.cat(samples), torch.cat(found)
        distance2 = (self.points[point] - places[part[sample]]).square().sum(1)
        kept = distance2 <= torch.tensor(radius, dtype=distance2.dtype) ** 2
        sample, point, distance2 = sample[kept], point[kept], distance2[kept]
        order = point.argsort()
        for key in (distance2, sample):
            order = order[key[order].argsort(stable=True)]
        return sample[order], point[order]

    def _runs(self, cells: Tensor, shell: int) -> list[tuple[Tensor, Tensor]]:
        """First and last keys [S] of each row along z of the voxels around cells [S, 3]; none where it is outside."""
        runs = []
        last = (cells[:, 2] + shell).minimum(self.sides[2] - 1)
        first = (cells[:, 2] - shell).clamp(min=0)
        for x in range(-shell, shell + 1):
            for y in range(-shell, shell + 1):
                at, to = cells[:, 0] + x, cells[:, 1] + y
                inside = (at >= 0) & (at < self.sides[0]) & (to >= 0) & (to < self.sides[1])
                row = (at * self.sides[1] + to) * self.sides[2]
                runs.append((row + first, torch.where(inside, row + last, row + first - 1)))
        return runs

    def _cells(self, places: Tensor) -> Tensor:
        return ((places - self.low) / self.voxel).floor().long()

    def _keys(self, cells: Tensor) -> Tensor:
        return (cells[:, 0] * self.sides[1] + cells[:, 1]) * self.sides[2] + cells[:, 2]


def query(places: Tensor, points: Tensor, count: int, radius: float, voxel: float = VOXEL) -> Found:
    """places: [R, D, 3] samples of rays, front to back. points: [N, 3]; both mm. Not differentiable."""
    places, points = places.detach(), points.detach()
    rows = VoxelRows(points, voxel)
    near = rows.near(places.flatten(0, 1)).view(places.shape[:2])
    rank = near.cumsum(1) - 1
    near &= rank < SLOTS
    ray, sample = near.nonzero(as_tuple=True)
    slot = rank[ray, sample]
    indices = torch.full((len(places), SLOTS, count), -1, device=places.device)
    indices[ray, slot] = rows.nearest(places[ray, sample], count, radius)
    kept, samples = torch.zeros(len(places), SLOTS, 3).to(places), torch.full_like(indices[..., 0], -1)
    kept[ray, slot], samples[ray, slot] = places[ray, sample], sample
    rays = (indices >= 0).flatten(1).any(1)
    return Found(rays, indices[rays], kept[rays], samples[rays])
