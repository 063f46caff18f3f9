"""What samples of a ray add up to, as published: every ray that meets points ends in something opaque.

Our own pictures take `cuda.composite` instead, which lets light through.
"""

from __future__ import annotations

import torch
from torch import Tensor

LAST = 1e10  # mm, the last sample's length


def lengths(depth: Tensor, present: Tensor) -> Tensor:
    """Of samples [R, S], front to back: mm to the next one, `LAST` for the last one that has points.

    depth: [R, S] planar, mm; where it falls, it counts as level. present: [R, S] bool.
    """
    rising = depth.cummax(1).values
    to_next = torch.cat([rising[:, 1:] - rising[:, :-1], torch.zeros_like(rising[:, :1])], 1)
    place = torch.arange(depth.shape[1], device=depth.device)
    last = torch.where(present, place, -1).amax(1, keepdim=True)
    return torch.where(place == last, LAST, to_next)


def weights(density: Tensor, length: Tensor) -> Tensor:
    """The weight of each sample [R, S], front to back. density: [R, S] per mm, 0 where there are no points."""
    alpha = 1 - torch.exp(-density * length)
    passed = torch.cumprod(1 - alpha + 1e-10, 1)
    return alpha * torch.cat([torch.ones_like(passed[:, :1]), passed[:, :-1]], 1)
