"""Emission and absorption along rays, on packed samples.

With density s_i (1/m) over a step d: a_i = 1 - exp(-s_i d), T_i = prod_{k<i} (1 - a_k), w_i = a_i T_i, and a ray's
value is sum_i w_i v_i (Max 1995, eq. 10; as in every radiance field).
"""

from __future__ import annotations

import torch
from torch import Tensor


def ranks(ray: Tensor) -> Tensor:
    """The place of each sample on its own ray, from 0: [S]. `ray` [S] is sorted."""
    index = torch.arange(ray.numel(), device=ray.device)
    if ray.numel() == 0:
        return index
    starts = torch.ones_like(ray, dtype=torch.bool)
    starts[1:] = ray[1:] != ray[:-1]
    return index - index[starts][torch.cumsum(starts, 0) - 1]


def weights(density: Tensor, step: float, ray: Tensor, before: Tensor | None = None) -> Tensor:
    """The weight of each packed sample: [S]; differentiable with respect to `density` [S] (1/m).

    ray: [S] sorted. before: [S] optical depth in front of the first sample of the call (for rays in several parts).
    """
    depth = density * step
    total = torch.cumsum(depth.double(), 0)
    exclusive = total - depth.double()
    rank = ranks(ray)
    first = torch.arange(ray.numel(), device=ray.device) - rank
    ahead = (exclusive - exclusive[first]).to(density.dtype)
    if before is not None:
        ahead = ahead + before
    return torch.exp(-ahead) * -torch.expm1(-depth)


def accumulate(weight: Tensor, value: Tensor | None, ray: Tensor, rays: int) -> Tensor:
    """sum of weight * value over each ray: [rays, C], or [rays] if `value` is None; `value` is [S, C]."""
    if value is None:
        return weight.new_zeros(rays).index_add(0, ray, weight)
    return weight.new_zeros(rays, value.shape[1]).index_add(0, ray, weight[:, None] * value)
