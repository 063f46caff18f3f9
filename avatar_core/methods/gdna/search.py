"""Correspondences of posed points (SNARF, Chen et al. 2021): all canonical x with LBS(x; w(x), B) = x_d.

Broyden's method on the networks themselves. `search` begins at the published bones; `search_voxels` lets the kernel on
a grid of weights (cuda/broyden.py) find roots first, and ends each on the networks, a tenth of the evaluations.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from ...cuda.broyden import Roots, SkinningVolume, find_roots
from ...cuda.skin import blend
from .body import STARTS, apply

CONVERGED, DIVERGED = 1e-5, 1.0  # metres
APART = 1e-4  # metres between roots of one point
NOWHERE = -1000.0  # logit of a point without roots
_POLISH = 5  # steps

Weights = Callable[[Tensor], Tensor]


def starts(points: Tensor, bones: Tensor) -> Tensor:
    """[N, 9, 3]: posed points [N, 3] as if they were rigid parts of some bones."""
    inverse = torch.linalg.inv(bones[list(STARTS)])
    return torch.einsum("irc,nc->nir", inverse[:, :3, :3], points) + inverse[:, :3, 3]


def search(points: Tensor, weights: Weights, bones: Tensor, steps: int = 10, exact: bool = False) -> Roots:
    """Roots of posed points [N, 3]; steps: 10 as published for the fine stage and for pictures, 50 for the coarse one.
    exact: Jacobians at the start include the weights' own derivative, as in training; else the blended transform is
    inverted. Without gradients: see `with_gradients`."""
    first = starts(points, bones)
    flat, targets = first.reshape(-1, 3), points.repeat_interleave(first.shape[1], 0)
    found, valid = _broyden(targets, flat, weights, bones, steps, exact)
    return _unique(found.view_as(first), valid.view(first.shape[:2]))


def search_voxels(points: Tensor, weights: Weights, bones: Tensor, volume: SkinningVolume, steps: int = 10) -> Roots:
    """As `search`. volume: `weights` on a grid, blended with `bones`. Only distinct roots are valid."""
    roots = find_roots(points, volume, torch.linalg.inv(bones[list(STARTS)]), steps, CONVERGED, DIVERGED, APART)
    point, start = roots.distinct.nonzero(as_tuple=True)
    places = roots.points.clone()
    valid = torch.zeros_like(roots.valid)
    places[point, start], valid[point, start] = _broyden(
        points[point], roots.points[point, start], weights, bones, _POLISH, False
    )
    return _unique(places, valid)


def with_gradients(roots: Tensor, weights: Weights, bones: Tensor) -> Tensor:
    """Roots [N, 3] with the derivatives that the implicit function theorem gives with respect to what `weights` is made
    of: dx = -J^-1 dd(x)."""
    fixed = roots.detach()
    inverse = torch.linalg.inv(_jacobian(fixed, weights, bones))
    posed = apply(blend(weights(fixed), bones), fixed)
    return fixed - (inverse @ (posed - posed.detach())[..., None])[..., 0]


def _jacobian(points: Tensor, weights: Weights, bones: Tensor) -> Tensor:
    """[N, 3, 3] of forward skinning, with the weights' own derivative."""
    with torch.enable_grad():
        at = points.detach().requires_grad_()
        posed = apply(blend(weights(at), bones), at)
        rows = [torch.autograd.grad(posed[:, row].sum(), at, retain_graph=row < 2)[0] for row in range(3)]
    return torch.stack(rows, 1).detach()


@torch.no_grad()
def _broyden(
    targets: Tensor, first: Tensor, weights: Weights, bones: Tensor, steps: int, exact: bool
) -> tuple[Tensor, Tensor]:
    """Places [M, 3] and whether they are roots [M]; a problem leaves when it is solved or lost."""
    x = first.clone()
    transforms = blend(weights(x), bones)
    matrix = _jacobian(x, weights, bones) if exact else transforms[:, :3, :3]
    inverse = torch.linalg.inv_ex(matrix)[0]
    g = apply(transforms, x) - targets
    valid = g.norm(dim=1) < CONVERGED
    active = torch.arange(len(x), device=x.device)
    for _ in range(steps):
        dx = -(inverse @ g[..., None])[..., 0]
        x[active] += dx
        here = x[active]
        after = apply(blend(weights(here), bones), here) - targets[active]
        dg, g = after - g, after
        error = g.norm(dim=1)
        valid[active] |= error < CONVERGED
        row = (dx[:, None] @ inverse)[:, 0]
        below = (row * dg).sum(1)
        below = below + torch.where(below >= 0, 1e-6, -1e-6).to(below)
        change = (dx - (inverse @ dg[..., None])[..., 0]) / below[:, None]
        inverse = inverse + change[..., None] * row[:, None]
        keep = (error > CONVERGED) & (error < DIVERGED)
        if not bool(keep.any()):
            break
        active, g, inverse = active[keep], g[keep], inverse[keep]
    return x, valid


def _unique(places: Tensor, valid: Tensor) -> Roots:
    distinct = valid.clone()
    for start in range(1, places.shape[1]):
        near = (places[:, :start] - places[:, start : start + 1]).norm(dim=2) < APART
        distinct[:, start] &= ~(near & distinct[:, :start]).any(1)
    return Roots(places, valid, distinct)
