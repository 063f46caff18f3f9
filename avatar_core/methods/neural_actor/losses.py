"""What training minimises. Besides the paper's colour term, the alpha and deformation terms that it announces."""

from __future__ import annotations

import torch
from torch import Tensor

ALPHA = 0.5
DEFORMATION = 2.0  # per square metre
ENTROPY = 2e-4


def pixel_means(rgb: Tensor, coverage: Tensor) -> tuple[Tensor, Tensor]:
    """The colour [N, 3] (premultiplied display sRGB) and coverage [N] of pixels, from those of their rays: [N, K, 3]
    and [N, K]. Light is averaged, not sRGB values, as a camera does and as `Frame.reduced` does."""
    if coverage.shape[1] == 1:
        return rgb[:, 0], coverage[:, 0]
    straight = (rgb / coverage[..., None].clamp(min=1e-4)).clamp(0, 1)
    light = (_linear(straight) * coverage[..., None]).mean(1)
    mean = coverage.mean(1)
    return _display(light / mean[:, None].clamp(min=1e-4)) * mean[:, None], mean


def _linear(srgb: Tensor) -> Tensor:
    """IEC 61966-2-1, differentiable."""
    return torch.where(srgb <= 0.04045, srgb / 12.92, ((srgb + 0.055) / 1.055) ** 2.4)


def _display(linear: Tensor) -> Tensor:
    """Inverse of `_linear`."""
    curve = 1.055 * linear.clamp(min=0.0031308) ** (1 / 2.4) - 0.055
    return torch.where(linear <= 0.0031308, 12.92 * linear, curve)


def ray_losses(rgb: Tensor, coverage: Tensor, target: Tensor) -> dict[str, Tensor]:
    """rgb: [R, 3] premultiplied display sRGB; coverage: [R]; target: [R, 4] straight display sRGB and alpha.

    'colour' is the mean squared error over pixels and channels; 'alpha' keeps the silhouette; 'entropy' pushes a ray
    to be either full or empty where the picture is.
    """
    alpha = target[:, 3]
    certain = (alpha > 0.99) | (alpha < 0.01)
    p = coverage[certain].clamp(1e-4, 1 - 1e-4)
    entropy = -(p * p.log() + (1 - p) * (1 - p).log())
    return {
        "colour": (rgb - target[:, :3] * alpha[:, None]).square().mean(),
        "alpha": ALPHA * (coverage - alpha).square().mean(),
        "entropy": ENTROPY * entropy.sum() / max(len(target), 1),
    }


def deformation_loss(offset: Tensor) -> Tensor:
    """offset: [S, 3] metres, learnt residual deformation: as small as the pictures allow."""
    return DEFORMATION * offset.square().sum(1).mean() if offset.numel() else offset.sum()
