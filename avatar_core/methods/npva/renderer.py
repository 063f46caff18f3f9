"""Points and rays in, pixels out."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ...cuda.composite import accumulate, sample_weights
from ...cuda.neighbours import NeighbourGrid
from . import compositing, published_query
from .aggregation import Aggregator
from .compositing import LAST
from .config import Config
from .surface import Points
from .vicinity import Vicinity

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

    def render(self, samples: Samples) -> Pixels:
        """Differentiable with respect to points and networks; places and who is near them are constants."""
        return self._published(samples) if self.grid is None else self._exact(samples, self.grid)

    def _exact(self, samples: Samples, grid: NeighbourGrid) -> Pixels:
        rays, count, _ = samples.places.shape
        places = samples.places.flatten(0, 1)
        kept = self.vicinity.holds(places).nonzero()[:, 0]
        indices, _ = grid.query(places[kept], self.config.neighbours)
        some = indices[:, 0] >= 0
        kept, indices = kept[some], indices[some]
        ray = kept // count
        encoded = self.aggregator.encode(places[kept], indices, self.points, samples.rotation)
        density = self.aggregator.densities(encoded)
        depth = samples.depth(samples.places)
        mean = (depth[:, -1:] - depth[:, :1]) / (count - 1)
        length = torch.cat([depth.diff(dim=1), mean], 1).flatten()[kept]
        if self.config.opaque:
            last = torch.ones_like(ray, dtype=torch.bool)
            last[:-1] = ray[1:] != ray[:-1]
            length = torch.where(last, LAST, length)
        weight = sample_weights(density * length, ray)
        hit = torch.zeros(rays, dtype=torch.bool, device=ray.device)
        hit[ray] = True
        coverage = accumulate(weight, None, ray, rays)
        distance = accumulate(weight, depth.flatten()[kept, None], ray, rays)[:, 0]
        if not torch.is_grad_enabled():
            seen = (weight > _UNSEEN).nonzero()[:, 0]
            weight, encoded, ray = weight[seen], encoded[seen], ray[seen]
        colour = accumulate(weight, self.aggregator.colours(encoded, samples.directions[ray]), ray, rays)
        return Pixels(colour, coverage, distance, hit)

    def _published(self, samples: Samples) -> Pixels:
        config = self.config
        found = published_query.query(samples.places, self.points.positions, config.neighbours, config.radius)
        present = (found.indices >= 0).any(-1)
        ray, _ = present.nonzero(as_tuple=True)
        directions = samples.directions[found.rays]
        encoded = self.aggregator.encode(found.places[present], found.indices[present], self.points, samples.rotation)
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
