"""What training minimises. Besides the paper's colour term, the alpha and deformation terms that it announces."""

from __future__ import annotations

from torch import Tensor

ALPHA = 0.5
DEFORMATION = 2.0  # per square metre
ENTROPY = 2e-4


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
