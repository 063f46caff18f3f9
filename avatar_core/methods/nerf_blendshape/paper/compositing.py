"""What samples add up to. Training and inference stop at different moments (the released kernels)."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from ....cuda.composite import accumulate, ranks, sample_weights

_TRAINING_STOP = 1e-4  # light in front of a sample below which training looks no further
_STOP = 1e-2  # light in front of the last sample of inference


def training_pixels(
    density: Tensor, colour: Tensor, length: Tensor, ray: Tensor, background: Tensor, stop: float = _TRAINING_STOP
) -> tuple[Tensor, Tensor]:
    """Pixels [R, 3] before `background` [R, 3], and coverage [R]; differentiable.

    density, length: [S]; colour: [S, 3]; ray: [S] int64, rising. A ray stops before a sample that less than `stop` of
    the light reaches, and then sees no background.
    """
    rays, depth = len(background), density * length
    weight = sample_weights(depth, ray, None, stop)
    coverage = accumulate(weight, None, ray, rays)
    ends = torch.bincount(ray, minlength=rays).cumsum(0) - 1
    before_last = accumulate(depth.detach(), None, ray, rays)
    if len(ray):
        last = torch.where(ray[ends.clamp(min=0)] == torch.arange(rays, device=ray.device), depth.detach()[ends], 0.0)
        before_last = before_last - last
    light = torch.where(torch.exp(-before_last) < stop, 0.0, 1 - coverage)
    return accumulate(weight, colour, ray, rays) + light[:, None] * background, coverage


@dataclass(frozen=True)
class Part:
    """What some samples of R rays add. colour: [R, 3]. coverage: [R]. distance: [R], sum of weight times distance.
    depth: [R] optical depth up to and with them. open: [R] bool, rays that look further."""

    colour: Tensor
    coverage: Tensor
    distance: Tensor
    depth: Tensor
    open: Tensor


def part(density: Tensor, colour: Tensor, length: Tensor, end: Tensor, ray: Tensor, before: Tensor) -> Part:
    """Inference: a ray stops after the first sample that less than 1e-2 of the light reaches.

    before: [R] optical depth in front of these samples. end: [S], the distance that counts for depth.
    """
    rays, depth = len(before), density * length
    total = torch.cumsum(depth.double(), 0)
    first = torch.arange(len(ray), device=ray.device) - ranks(ray)
    ahead = before[ray] + (total - depth - (total - depth)[first]).to(depth.dtype)
    dark = ahead > -math.log(_STOP)
    after_dark = torch.zeros_like(dark)
    after_dark[1:] = dark[:-1] & (ray[1:] == ray[:-1])
    weight = torch.where(after_dark, 0.0, sample_weights(depth, ray, before[ray]))
    closed = torch.zeros(rays, dtype=torch.bool, device=ray.device)
    closed[ray[dark]] = True
    return Part(
        accumulate(weight, colour, ray, rays),
        accumulate(weight, None, ray, rays),
        accumulate(weight * end, None, ray, rays),
        before + accumulate(depth, None, ray, rays),
        ~closed,
    )
