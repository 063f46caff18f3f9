"""The published renderer: a field, its occupied vertices and rays in, pixels out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from ..field import Field
from .compositing import part
from .march import interval, march

_WAVE = 4  # samples of each ray between two looks at which rays are still open
_MOST = 1024  # samples of a ray


@dataclass(frozen=True)
class Pixels:
    """colour: [R, 3] display sRGB times coverage. coverage: [R]. distance: [R], the sum of weight times the distance
    at a step's end. near, far: [R] of the cube, 1e9 for rays that miss it. All in field units."""

    colour: Tensor
    coverage: Tensor
    distance: Tensor
    near: Tensor
    far: Tensor


def render(
    field: Field,
    table: Tensor,
    occupied: Tensor,
    origins: Tensor,
    directions: Tensor,
    check: Callable[[], None] = lambda: None,
) -> Pixels:
    """origins, directions (unit): [R, 3] in the field's frame. check: called between waves; may raise."""
    near, far = interval(origins, directions, field.bound, training=False)
    rays, kind = len(origins), table.dtype
    colour = torch.zeros(rays, 3, dtype=kind, device=origins.device)
    coverage, distance, depth = (torch.zeros(rays, dtype=kind, device=origins.device) for _ in range(3))
    alive, start, taken = torch.nonzero(near < far).squeeze(1), near.clone(), 0
    while alive.numel() and taken < _MOST:
        check()
        steps = march(origins[alive], directions[alive], start[alive], far[alive], occupied, field.bound, _WAVE)
        sigma, rgb = field(steps.point.to(kind), directions[alive][steps.ray].to(kind), table)
        wave = part(sigma, rgb, steps.length.to(kind), steps.end.to(kind), steps.ray, depth[alive])
        colour[alive] += wave.colour
        coverage[alive] += wave.coverage
        distance[alive] += wave.distance
        depth[alive], start[alive] = wave.depth, steps.distance
        alive, taken = alive[wave.open & (steps.distance < far[alive])], taken + _WAVE
    return Pixels(colour, coverage, distance, near, far)
