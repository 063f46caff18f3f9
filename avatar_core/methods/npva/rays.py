"""Which part of a ray is looked at: intervals around the depth of the surface (NPVA, section 3.3).

All lengths are millimetres, or whatever the depths are given in.
"""

from __future__ import annotations

import torch
from torch import Tensor

from .config import Config

NOTHING = 1e10  # the nearest depth around a pixel where there is no surface
_LEAST = 10.0  # depths below it are no surface
_JITTER = 0.3  # share of a segment by which training varies its length


def depth_range(depth: Tensor, pixels: Tensor, span: int) -> tuple[Tensor, Tensor]:
    """Nearest and farthest surface [R] among the pixel and its eight neighbours `span` pixels away.

    depth: [H, W], 0 where empty. pixels: [R, 2] int64 x, y. Nearest is NOTHING, and farthest 0, without a surface.
    """
    height, width = depth.shape
    steps = torch.tensor((-span, 0, span), device=depth.device)
    columns = (pixels[:, :1] + steps).clamp(0, width - 1)
    rows = (pixels[:, 1:] + steps).clamp(0, height - 1)
    taps = depth[rows[:, :, None], columns[:, None]].flatten(1)
    return torch.where(taps < _LEAST, NOTHING, taps).amin(1), taps.amax(1)


def segments(nearest: Tensor, farthest: Tensor, config: Config, jitter: Tensor | None = None) -> Tensor:
    """Sample distances [R, samples], rising, of rays [R]: middles of equal segments around the middle of both surfaces,
    or half of them around each where they are apart. jitter: [R, samples] in [0, 1), 0.5 for equal segments."""
    count, reach = config.samples, config.reach
    middle = (nearest + farthest) / 2
    one = _middles(middle, count, reach, jitter)
    half = count // 2
    parts = (None, None) if jitter is None else (jitter[:, :half], jitter[:, half:])
    both = torch.cat([_middles(nearest, half, reach, parts[0]), _middles(farthest, half, reach, parts[1])], 1)
    return torch.where((farthest - nearest > config.split)[:, None], both.sort(1).values, one)


def _middles(centre: Tensor, count: int, reach: float, jitter: Tensor | None) -> Tensor:
    length = centre.new_full((len(centre), count), 2 * reach / count)
    if jitter is not None:
        length = length * (1 + _JITTER * (jitter - 0.5))
    return (centre - reach)[:, None] + length.cumsum(1) - length / 2
