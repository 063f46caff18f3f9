"""Rays looked at from front to back, so that what lies behind an opaque surface is never asked."""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch
from torch import Tensor

from ..cuda.march import Samples

_LENGTH = 4  # samples of a ray at a time


def waves(samples: Samples, thickness: Tensor, stop: float) -> Iterator[Tensor]:
    """Indices [P] into the samples: the next few of every ray that still lets more than `stop` of the light pass, until
    none is left. thickness: [R] optical depth of each ray so far, to which the caller adds between waves."""
    following, end = samples.start[:-1].clone(), samples.start[1:]  # each ray's next sample
    opaque = -math.log(stop)
    while (live := torch.nonzero((following < end) & (thickness < opaque)).squeeze(1)).numel():
        part = following[live, None] + torch.arange(_LENGTH, device=live.device)
        yield part[part < end[live, None]]
        following[live] += _LENGTH
