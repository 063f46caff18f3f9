"""Gaussians to a latent image: features blended by integrals along rays (cuda/gaussians.py), or in order of depth."""

from __future__ import annotations

import torch
from torch import Tensor

from ...cuda.gaussians import HALF, GaussianImage, gaussian_image, gaussian_integrals, published_background
from .primitives import Gaussians

_LEAST = 1e-8  # of what a published model divides by
_NOTHING = 1e-12  # of the background's weight: far below what single precision can tell
_FAR = 2.0  # times the distance of the farthest Gaussian: where the background lies
_LAYERS = 8  # Gaussians that a pixel may show when they hide each other
_RAYS = 1 << 14  # looked at together


def latent_image(
    plane: Tensor, gaussians: Gaussians, features: Tensor, published: bool, density: float = 0.0
) -> GaussianImage:
    """plane: [H, W, 2] rays (x, y, 1). features: [P, C].

    published: Gaussians behind the camera show too and the background's weight is the published one, which jumps with
    the pose and with what else is in the picture; otherwise the weight follows the pose smoothly and what is behind
    the camera is not drawn. density: 0 blends by nearness, as published; else nearer Gaussians hide what is behind
    them, 1 - exp(-density * integral) being their opacity (1/m).
    """
    here = torch.isfinite(gaussians.centres).all(1) & torch.isfinite(gaussians.axes).all(1)
    if not bool(here.any()):
        return _empty(plane, features)
    centres, axes, widths = gaussians.centres, gaussians.axes, gaussians.widths
    if density > 0:
        return _ordered(plane, gaussians, features, density)
    if published:
        weight = published_background(plane, centres[here], axes[here], widths[here]).clamp(min=_LEAST)
        ahead = bool((centres[here, 2] > 0).all())  # what is behind the camera is drawn too, and never culled
        return gaussian_image(plane, centres, axes, widths, features, weight, cull=_NOTHING if ahead else 0)
    return gaussian_image(plane, centres, axes, widths, features, background(gaussians))


def background(gaussians: Gaussians) -> Tensor:
    """The weight [] of what lies behind: that of the published one for the narrowest width, twice as far away as the
    farthest Gaussian."""
    distance = gaussians.centres.square().sum(1)
    farthest = _FAR**2 * torch.where(torch.isfinite(distance), distance, 0.0).amax()
    scale = 10 ** torch.ceil(torch.log10(gaussians.widths.detach().amin().square().clamp(min=1e-6)))
    return (HALF * scale.sqrt() / (1 + farthest.square())).clamp(min=_LEAST)


def _ordered(plane: Tensor, gaussians: Gaussians, features: Tensor, density: float) -> GaussianImage:
    height, width = plane.shape[:2]
    layers = min(_LAYERS, len(features))
    parts = []
    for rays in plane.reshape(-1, 2).split(_RAYS):
        integral, depth = gaussian_integrals(rays, gaussians.centres, gaussians.axes, gaussians.widths)
        integral = torch.where(torch.isfinite(integral) & (depth > 0), integral, 0.0)
        strongest, which = integral.topk(layers, dim=1)
        order = depth.gather(1, which).where(strongest > 0, torch.inf).argsort(1)
        which, strongest = which.gather(1, order), strongest.gather(1, order)
        opacity = 1 - torch.exp(-density * strongest)
        passing = torch.cumprod(1 - opacity, 1)
        weight = opacity * torch.cat([torch.ones_like(passing[:, :1]), passing[:, :-1]], 1)
        alpha = weight.sum(1)
        seen = alpha > _LEAST
        depths = depth.gather(1, which).where(strongest > 0, 0.0)
        mean = (weight * depths).sum(1) / torch.where(seen, alpha, 1.0)
        nearest = which.gather(1, weight.argmax(1, keepdim=True)).squeeze(1)
        blended = torch.einsum("nk,nkc->nc", weight, features[which])
        parts.append((blended, alpha, torch.where(seen, mean, 0.0), torch.where(seen, nearest, -1)))
    blended, alpha, depth, limb = (torch.cat(part) for part in zip(*parts, strict=True))
    planes = (values.view(height, width) for values in (alpha, depth, limb))
    return GaussianImage(blended.T.reshape(-1, height, width), *planes)


def _empty(plane: Tensor, features: Tensor) -> GaussianImage:
    size = plane.shape[:2]
    zero = plane.new_zeros(size)
    return GaussianImage(
        plane.new_zeros(features.shape[1], *size),
        zero,
        zero,
        torch.full(size, -1, dtype=torch.int64, device=plane.device),
    )
