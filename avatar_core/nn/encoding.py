"""Learnt encodings of points."""

from __future__ import annotations

import math
from itertools import pairwise

import torch
from torch import Tensor, nn

from ..cuda.hashgrid import HashGridSpec, hash_grid
from ..cuda.mlp import run_mlp


class HashGrid(nn.Module):
    """Multi-resolution hash encoding (Mueller et al. 2022, eq. 1-4) of points in the unit cube.

    Resolutions grow geometrically from `base` to `finest`; each level has at most 2^log2_size entries.
    """

    def __init__(self, levels: int, features: int, log2_size: int, base: int, finest: int) -> None:
        super().__init__()
        growth = math.exp(math.log(finest / base) / max(levels - 1, 1))
        self.spec = HashGridSpec(levels, features, log2_size, base, growth)
        self.table = nn.Parameter(torch.empty(self.spec.parameters, features).uniform_(-1e-4, 1e-4))

    @property
    def width(self) -> int:
        return self.spec.levels * self.spec.features

    def forward(self, points: Tensor) -> Tensor:
        """[N, 3] in [0, 1] to [N, width]."""
        return hash_grid(points, self.table, self.spec)


def frequencies(values: Tensor, octaves: int, scale: float = 1.0) -> Tensor:
    """Positional encoding (Mildenhall et al. 2020, eq. 4) in Neural Sparse Voxel Fields' order: [N, C] to
    [N, C (2 octaves + 1)].

    For each coordinate x: sin(scale 2^k x) for all k, then the cosines; the coordinates themselves come last.
    """
    angles = values[..., None] * (scale * 2.0 ** torch.arange(octaves).to(values))
    waves = torch.cat([angles.sin(), angles.cos()], -1).flatten(-2)
    return torch.cat([waves, values], -1)


def mlp(inputs: int, hidden: int, outputs: int, layers: int) -> nn.Sequential:
    """`layers` hidden layers of width `hidden` with ReLU, and a linear output."""
    widths = [inputs, *[hidden] * layers, outputs]
    parts: list[nn.Module] = []
    for one, two in pairwise(widths):
        parts += [nn.Linear(one, two), nn.ReLU()]
    return nn.Sequential(*parts[:-1])


def evaluate(network: nn.Sequential, *inputs: Tensor) -> Tensor:
    """`network`, made by `mlp`, of inputs [N, C_k] side by side: [N, outputs]. Several times faster than calling it, on
    a CPU and when no gradient is needed."""
    layers = [layer for layer in network if isinstance(layer, nn.Linear)]
    return run_mlp(inputs, [layer.weight for layer in layers], [layer.bias for layer in layers])


def spherical_harmonics(directions: Tensor) -> Tensor:
    """The 16 real spherical harmonics up to degree 3 of unit vectors [N, 3]: [N, 16], degree by degree, with the sign
    (-1)^m, as tiny-cuda-nn orders them."""
    x, y, z = directions.unbind(1)
    x2, y2, z2 = x * x, y * y, z * z
    terms = (
        *(torch.full_like(x, 0.28209479177387814), -0.48860251190291987 * y, 0.48860251190291987 * z),
        *(-0.48860251190291987 * x, 1.0925484305920792 * x * y, -1.0925484305920792 * y * z),
        *(0.94617469575755997 * z2 - 0.31539156525251999, -1.0925484305920792 * x * z),
        *(0.54627421529603959 * (x2 - y2), 0.59004358992664352 * y * (y2 - 3 * x2)),
        *(2.8906114426405538 * x * y * z, 0.45704579946446572 * y * (1 - 5 * z2)),
        *(0.3731763325901154 * z * (5 * z2 - 3), 0.45704579946446572 * x * (1 - 5 * z2)),
        *(1.4453057213202769 * z * (x2 - y2), 0.59004358992664352 * x * (3 * y2 - x2)),
    )
    return torch.stack(terms, 1)
