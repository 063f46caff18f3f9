"""Emission and absorption along rays, on packed samples: what the renderers use of `avatar_core.cuda.composite`."""

from __future__ import annotations

from torch import Tensor

from ..cuda.composite import accumulate, ranks, sample_weights

__all__ = ["accumulate", "ranks", "weights"]


def weights(density: Tensor, step: float, ray: Tensor, before: Tensor | None = None) -> Tensor:
    """The weight of each packed sample: [S]; differentiable with respect to `density` [S] (1/m).

    ray: [S] sorted. before: [S] optical depth in front of the first sample of the call (for rays in several parts).
    """
    return sample_weights(density * step, ray, before)
