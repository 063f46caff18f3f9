"""Where there may be something, in any expression: a density at every vertex of a grid in the cube.

Every expression is tried alone at its highest value, and the neutral one; a vertex keeps the largest density of those,
of its neighbours one further on each axis, and of nine tenths of what it held.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn.functional import max_pool3d, pad

START = 1e-3  # density before the first update
_DECAY = 0.9
_THRESHOLD = 10.0  # density above which a vertex is occupied, where the mean is not lower
_CELLS = 128  # a literal of the released code, for every resolution


def probes(tables: int, highest: Tensor) -> Tensor:
    """Weights of the tables [K, K]: row k is the first table, with table k at its highest value [K]."""
    weights = torch.diag(highest)
    weights[:, 0] = 1
    weights[0, 0] = highest[0]
    return weights


def vertices(side: int, bound: float, noise: Tensor) -> Tensor:
    """Points [side^3, 3], x slowest, moved by noise [side^3, 3] in [-1, 1] within about a cell."""
    cell = bound / _CELLS
    axis = torch.linspace(-1, 1, side, device=noise.device).to(noise.dtype)
    return torch.cartesian_prod(axis, axis, axis) * (bound - cell) + noise * cell


def updated(density: Tensor, found: Tensor) -> Tensor:
    """The grid [H, H, H] after `found` [H, H, H], the largest density of all expressions."""
    pooled = max_pool3d(pad(found[None, None], (0, 1, 0, 1, 0, 1)), 2, stride=1)[0, 0]
    return torch.maximum(_DECAY * density, pooled)


def update(density: Tensor, expressions: int, query: Callable[[int], Tensor]) -> Tensor:
    """query: the number of an expression to densities [H^3] at (freshly moved) vertices."""
    found = torch.zeros_like(density).flatten()
    for number in range(expressions):
        found = torch.maximum(found, query(number))
    return updated(density, found.view_as(density))


def occupied(density: Tensor) -> Tensor:
    """[H, H, H] bool. All of a grid that is alike everywhere, as before the first update: whether a vertex is above the
    mean is then a matter of rounding, which each device does in its own way."""
    low, high = torch.aminmax(density)
    return density > (0.0 if bool(low == high) else min(_THRESHOLD, float(density.mean())))
