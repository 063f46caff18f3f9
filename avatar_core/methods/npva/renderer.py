"""Points and rays in, pixels out."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from ...cuda.composite import accumulate, sample_weights
from ...cuda.neighbours import NeighbourGrid
from . import compositing, published_query
from .aggregation import Aggregator
from .config import Config
from .surface import Points
from .vicinity import Vicinity

_WAVES = 0.45, 0.5, 0.55, 0.6, 0.7, 1.0  # of a ray's samples; the surface is in the middle
_UNSEEN = 1 / 4096  # weight of a sample whose colour no picture shows


@dataclass(frozen=True)
class Pixels:
    """Of R rays. colour: [R, 3] display sRGB times coverage. coverage: [R]. depth: [R] mm, the sum of weight times
    planar depth. hit: [R] bool, whether there is any point."""

    colour: Tensor
    coverage: Tensor
    depth: Tensor
    hit: Tensor


@dataclass(frozen=True)
class Samples:
    """Places on R rays from origin [3], mm. directions: [R, 3]. places: [R, D, 3] mm, front to back. rotation: [3, 3]
    to the camera's axes."""

    origin: Tensor
    directions: Tensor
    places: Tensor
    rotation: Tensor

    @classmethod
    def along(cls, origin: Tensor, directions: Tensor, distances: Tensor, rotation: Tensor) -> Samples:
        """distances: [R, D] mm."""
        return cls(origin, directions, origin + distances[..., None] * directions[:, None], rotation)

    def depth(self, places: Tensor) -> Tensor:
        """Planar depth [...] of places [..., 3]."""
        return (places - self.origin) @ self.rotation[2]


class Cloud:
    """Points of a head, ready to be looked at."""

    def __init__(self, points: Points, aggregator: Aggregator, config: Config) -> None:
        self.points, self.aggregator, self.config = points, aggregator, config
        self.grid: NeighbourGrid | None = None
        if not config.published:
            self.grid = NeighbourGrid(points.positions.detach(), config.radius)
            self.vicinity = Vicinity(points.positions.detach(), config.radius)

    def render(self, samples: Samples, stop: float = 0.0) -> Pixels:
        """Differentiable with respect to points and networks; places and who is near them are constants. stop: without
        gradients, a ray ends when less than this share of light passes."""
        if self.grid is None:
            return self._published(samples)
        waves = _WAVES if stop > 0 and not torch.is_grad_enabled() else (1.0,)
        return self._exact(samples, self.grid, waves, stop)

    def _exact(self, samples: Samples, grid: NeighbourGrid, waves: tuple[float, ...], stop: float) -> Pixels:
        """From front to back; waves: the shares of a ray's samples up to which it is looked at, one after the other."""
        rays, count, _ = samples.places.shape
        depth = samples.depth(samples.places)
        mean = (depth[:, -1:] - depth[:, :1]) / (count - 1)
        length = torch.cat([depth.diff(dim=1), mean], 1)
        empty = depth.new_zeros(rays)
        colour, coverage, distance, passed = depth.new_zeros(rays, 3), empty, empty, empty
        hit = torch.zeros_like(empty, dtype=torch.bool)
        ends: list[tuple[Tensor, Tensor, Tensor]] = []
        first = 0
        for share in waves:
            part = slice(first, round(share * count))
            first = part.stop
            ray, place, indices = self._near(samples.places, part, passed, stop, grid)
            at = samples.places[ray, place]
            encoded = self.aggregator.encode(at, indices, self.points, samples.rotation)
            optical = self.aggregator.densities(encoded) * length[ray, place]
            weight = sample_weights(optical, ray, passed[ray])
            passed = passed + accumulate(optical, None, ray, rays)
            coverage = coverage + accumulate(weight, None, ray, rays)
            distance = distance + accumulate(weight, depth[ray, place, None], ray, rays)[:, 0]
            hit[ray] = True
            if self.config.opaque and len(ray):
                end = torch.cat([ray[1:] != ray[:-1], ray.new_ones(1, dtype=torch.bool)])
                ends.append((ray[end], encoded[end], depth[ray[end], place[end]]))
            if not torch.is_grad_enabled():
                seen = (weight > _UNSEEN).nonzero()[:, 0]
                weight, encoded, ray = weight[seen], encoded[seen], ray[seen]
            shown = self.aggregator.colours(encoded, samples.directions[ray])
            colour = colour + accumulate(weight, shown, ray, rays)
        if ends:
            return self._closed(Pixels(colour, coverage, distance, hit), passed, ends, samples.directions, stop)
        return Pixels(colour, coverage, distance, hit)

    def _near(
        self, places: Tensor, part: slice, passed: Tensor, stop: float, grid: NeighbourGrid
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Samples of `part` that have points, of rays through which light passes: their rays, their places on them, and
        who is near, [N, K]."""
        alive = (passed <= (-math.log(stop) if stop > 0 else math.inf)).nonzero()[:, 0]
        asked = places[alive, part]
        kept = self.vicinity.holds(asked.flatten(0, 1)).nonzero()[:, 0]
        indices, _ = grid.query(asked.flatten(0, 1)[kept], self.config.neighbours)
        some = indices[:, 0] >= 0
        kept, indices = kept[some], indices[some]
        wide = max(asked.shape[1], 1)
        return alive[kept // wide], part.start + kept % wide, indices

    def _closed(
        self, open_: Pixels, passed: Tensor, ends: list[tuple[Tensor, Tensor, Tensor]], directions: Tensor, stop: float
    ) -> Pixels:
        """What light is left meets the last sample that has points; where it is less than `stop`, it takes the colour
        of all others. ends: of each wave the rays, what the networks read, and depths of their last samples."""
        left = torch.exp(-passed) * open_.hit
        latest = torch.full_like(left, -1, dtype=torch.int64)
        offset = 0
        for ray, _, _ in ends:
            latest[ray] = torch.arange(offset, offset + len(ray), device=ray.device)
            offset += len(ray)
        encoded, depth = torch.cat([end[1] for end in ends]), torch.cat([end[2] for end in ends])
        little = left <= (0 if torch.is_grad_enabled() else max(_UNSEEN, stop))
        rest = (~little).nonzero()[:, 0]
        shown = left[rest, None] * self.aggregator.colours(encoded[latest[rest]], directions[rest])
        scale = torch.where(little, 1 / (1 - left).clamp(min=0.5), 1.0)
        colour = (open_.colour * scale[:, None]).index_add(0, rest, shown)
        distance = open_.depth + left * depth[latest.clamp(min=0)]
        return Pixels(colour, open_.coverage + left, distance, open_.hit)

    def _published(self, samples: Samples) -> Pixels:
        config = self.config
        found = published_query.query(samples.places, self.points.positions, config.neighbours, config.radius)
        present = (found.indices >= 0).any(-1)
        ray, _ = present.nonzero(as_tuple=True)
        directions = samples.directions[found.rays]
        camera = samples.origin, samples.rotation
        encoded = self.aggregator.encode_published(found.places[present], found.indices[present], self.points, camera)
        density = torch.zeros_like(present, dtype=encoded.dtype).masked_scatter(
            present, self.aggregator.densities(encoded)
        )
        colour = encoded.new_zeros(*present.shape, 3)
        colour = colour.masked_scatter(present[..., None], self.aggregator.colours(encoded, directions[ray]))
        depth = torch.where(found.samples >= 0, samples.depth(found.places), 0.0).cummax(1).values
        weight = compositing.weights(density, compositing.lengths(depth, present))
        total = encoded.new_zeros(len(found.rays), 5)
        value = torch.cat([colour, depth[..., None], torch.ones_like(depth[..., None])], -1)
        total[found.rays] = (weight[..., None] * value).sum(1)
        return Pixels(total[:, :3], total[:, 4], total[:, 3], found.rays)
