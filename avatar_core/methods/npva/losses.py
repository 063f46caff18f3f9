"""What training minimises (NPVA, section 3.4, and the released weights)."""

from __future__ import annotations

from torch import Tensor
from torch.nn.functional import smooth_l1_loss

from .encoder import Latent

WEIGHTS = {
    "rgb": 5.0,
    "depth": 0.1,
    "surface_depth": 0.2,
    "mesh": 0.2,
    "smoothness": 1.0,
    "kl": 0.001,
    "perceptual": 0.1,
    "displacement": 0.1,
    "mask": 0.5,  # of ours; the released code has no coverage
}
_TRUSTED = 10.0  # mm: farther off, a depth is another surface's
_FREE = 10.0  # mm that a point may leave the surface unpunished
_SMOOTH = 4.0  # mm where the smooth absolute error becomes straight


def colour(rendered: Tensor, captured: Tensor) -> Tensor:
    """Mean distance of colours [R, 3]."""
    return (rendered - captured).norm(dim=-1).mean()


def depth(found: Tensor, measured: Tensor) -> Tensor:
    """Mean absolute error of depths [R], mm, of which larger ones than a centimetre are left out."""
    error = (found - measured).abs()
    return (error * (error < _TRUSTED)).mean()


def mesh(vertices: Tensor, tracked: Tensor, mask: Tensor | None = None) -> Tensor:
    """Mean distance of vertices [V, 3]; mask: [V], 0 in the mouth, which no mesh tracks."""
    distance = (vertices - tracked).norm(dim=-1)
    return (distance if mask is None else distance * mask).mean()


def smoothness(positions: Tensor) -> Tensor:
    """Of a map [..., 3, H, W], mm: smooth absolute differences of neighbours, along both axes."""
    down = smooth_l1_loss(positions[..., 1:, :], positions[..., :-1, :], beta=_SMOOTH)
    across = smooth_l1_loss(positions[..., 1:], positions[..., :-1], beta=_SMOOTH)
    return down + across


def divergence(latent: Latent) -> Tensor:
    """Kullback-Leibler divergence to the standard normal distribution, mean over all values."""
    mean, log_std = latent
    return 0.5 * ((2 * log_std).exp() + mean.square() - 1 - 2 * log_std).mean()


def displacement(displacements: Tensor) -> Tensor:
    """Mean length of displacements [B, 3, S, S], mm, that are longer than a centimetre."""
    length = displacements.norm(dim=1)
    return (length * (length > _FREE)).mean()
