"""Which points of a ray are looked at: steps that grow with distance, through a cube whose vertices are occupied.

At distance t a step is t / 128, at least 2 sqrt(3) bound / 2048 and at most the distance of two vertices. A sample lies
where the nearest vertex is occupied; elsewhere the ray steps on until it has passed the vertex's cell. All of it in
single precision and in the released order of operations, which decides the cells.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

NEAR = 0.05  # field units; nothing nearer to the camera is looked at
MOST = 2048  # samples of a ray
_MISSED = 1e9


@dataclass(frozen=True)
class Steps:
    """Samples, packed: sorted by ray, then by distance.

    ray: [S] int64. point: [S, 3]. length: [S] of the step that a sample stands for. end: [S] distance of the step's
    end. distance: [R] that each ray has come to.
    """

    ray: Tensor
    point: Tensor
    length: Tensor
    end: Tensor
    distance: Tensor


def interval(origins: Tensor, directions: Tensor, bound: float, training: bool) -> tuple[Tensor, Tensor]:
    """Where rays [R, 3] enter and leave the cube: near and far [R], float32.

    In training a ray that misses has far < near; else both are 1e9.
    """
    origins, directions = origins.float(), directions.float()
    edge = torch.tensor(bound, device=origins.device)
    if training:
        inverse = 1 / directions
        low, high = (-edge - origins) * inverse, (edge - origins) * inverse
    else:
        low, high = (side / (directions + 1e-15) for side in (-edge - origins, edge - origins))
    near, far = torch.minimum(low, high).amax(1), torch.maximum(low, high).amin(1)
    if not training:
        missed = far < near
        near, far = near.masked_fill(missed, _MISSED), far.masked_fill(missed, _MISSED)
    return near.clamp(min=NEAR), torch.where(torch.isfinite(far), far, 0.0)


def march(
    origins: Tensor,
    directions: Tensor,
    start: Tensor,
    far: Tensor,
    occupied: Tensor,
    bound: float,
    most: int = MOST,
    noise: Tensor | None = None,
) -> Steps:
    """At most `most` samples of each ray between `start` and `far` [R].

    origins, directions (unit): [R, 3]. occupied: [H, H, H] bool. noise: [R, >= most] in [0, 1), by twice of which the
    steps of a ray's samples are stretched, one after the other.
    """
    origins, directions, side = origins.float(), directions.float(), occupied.shape[0]
    rule = _Rule.of(bound, side, origins.device)
    inverse, t = 1 / directions, start.float().clone()
    count = torch.zeros(len(t), dtype=torch.int64, device=t.device)
    found: list[tuple[Tensor, Tensor, Tensor, Tensor]] = []
    live = torch.nonzero(t < far).squeeze(1)
    while live.numel():
        point = (origins[live] + t[live, None] * directions[live]).clamp(-bound, bound)
        vertex = rule.vertex(point)
        full = occupied[vertex[:, 0], vertex[:, 1], vertex[:, 2]]
        ray = live[full]
        length = rule.step(t[ray])
        if noise is not None:
            length = length * noise[ray, count[ray]] * 2
        t[ray] = t[ray] + length
        count[ray] += 1
        found.append((ray, point[full], length, t[ray]))
        ray, empty = live[~full], ~full
        goal = t[ray] + rule.leave(vertex[empty], point[empty], directions[ray], inverse[ray])
        while ray.numel():
            t[ray] = t[ray] + rule.step(t[ray])
            behind = t[ray] < goal
            ray, goal = ray[behind], goal[behind]
        live = live[(t[live] < far[live]) & (count[live] < most)]
    if not found:
        return Steps(live, origins[:0], t[:0], t[:0], t)
    ray, point, length, end = (torch.cat(parts) for parts in zip(*found, strict=True))
    order = torch.argsort(ray, stable=True)
    return Steps(ray[order], point[order], length[order], end[order], t)


@dataclass(frozen=True)
class _Rule:
    """The constants of a cube; tensors of no dimension, so that they round as single precision does."""

    bound: Tensor
    inverse: Tensor
    shortest: Tensor
    longest: Tensor
    side: int

    @classmethod
    def of(cls, bound: float, side: int, device: torch.device) -> _Rule:
        edge = torch.tensor(bound, device=device)
        shortest = torch.tensor(2 * math.sqrt(3), device=device) / 2048 * edge
        return cls(edge, 1 / edge, shortest, 2 * edge / (side - 1), side)

    def step(self, distance: Tensor) -> Tensor:
        return torch.minimum(self.longest, torch.maximum(self.shortest, distance * (1 / 128)))

    def vertex(self, point: Tensor) -> Tensor:
        """[N, 3] int64 of the nearest vertices."""
        unit = (point * self.inverse + 1).double()
        return (0.5 * unit * (self.side - 1) + 0.5).float().floor().long()

    def leave(self, vertex: Tensor, point: Tensor, direction: Tensor, inverse: Tensor) -> Tensor:
        """The length [N] to the end of the cell that a ray is in."""
        ahead = vertex.float() + 0.5 + torch.copysign(torch.full_like(direction, 0.5), direction)
        plane = (ahead / (self.side - 1) * 2 - 1) * self.bound
        return ((plane - point) * inverse).amin(1).clamp(min=0)
