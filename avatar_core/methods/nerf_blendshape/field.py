"""The mixture of hash tables and its two networks (NeRFBlendShape, eq. 2-4 and the released networks)."""

from __future__ import annotations

import math
from functools import cached_property

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import softplus

from ...cuda.hashgrid import HashGridSpec, blend_tables, hash_grid
from ...nn.encoding import spherical_harmonics
from ...nn.tcnn import PackedMLP
from .config import FieldConfig

_HARMONICS = 16
_CHUNK = 8192  # points whose activations fit the cache


class PublishedSpec(HashGridSpec):
    """A grid whose scales are rounded to single precision where the released encoder rounds them."""

    @cached_property
    def scales(self) -> tuple[float, ...]:
        octave = np.float32(np.log2(self.growth))
        powers = (np.exp2(np.float64(np.float32(level) * octave)) for level in range(self.levels))
        return tuple(float(np.float32(power) * np.float32(self.base_resolution) - np.float32(1)) for power in powers)


def clamped(coefficients: Tensor, lowest: Tensor, highest: Tensor) -> Tensor:
    """Coefficients [..., K] within the ranges [K] that were seen in training; where those cross, `lowest` wins."""
    return torch.maximum(torch.minimum(coefficients, highest), lowest)


class Field(nn.Module):
    """Density and colour of points, for one mixture at a time."""

    scales: Tensor
    mixing: Tensor

    def __init__(self, config: FieldConfig) -> None:
        super().__init__()
        growth = math.exp2(math.log2(config.finest / config.base) / max(config.levels - 1, 1))
        self.spec = PublishedSpec(config.levels, config.features, config.log2_size, config.base, growth)
        self.bound, self.gain, self.shift = config.bound, config.gain, config.shift
        rows = self.spec.parameters, config.features
        if config.principal:
            self.tables = nn.Parameter(torch.zeros(config.principal, *rows, dtype=torch.int8), requires_grad=False)
            self.register_buffer("scales", torch.zeros(config.principal, config.levels))
            self.register_buffer("mixing", torch.zeros(config.tables, config.principal))
        else:
            self.tables = nn.Parameter(torch.empty(config.tables, *rows).uniform_(-1e-4, 1e-4))
        encoded = config.levels * config.features
        self.density_net = PackedMLP(encoded, 1 + config.geometry, config.width, config.density_layers)
        self.colour_net = PackedMLP(_HARMONICS + config.geometry, 3, config.width, config.colour_layers)

    def mix(self, weights: Tensor, factors: list[tuple[Tensor, Tensor]] | None = None) -> Tensor:
        """The table of an expression, [rows, features]; weights: [K]. factors: see `blend_tables`."""
        if self.tables.is_floating_point():
            return blend_tables(self.tables, weights, factors)
        amounts = (weights @ self.mixing)[:, None] * self.scales
        levels = zip(amounts.unbind(1), self.tables.split(list(self.spec.sizes), 1), strict=True)
        return torch.cat([torch.einsum("k,krf->rf", amount, part.to(amount)) for amount, part in levels])

    def encode(self, points: Tensor, table: Tensor) -> Tensor:
        """[N, levels * features] of points [N, 3] in field units; zeros outside of the cube."""
        unit = (points + self.bound) / (2 * self.bound)
        inside = ((unit >= 0) & (unit <= 1)).all(1, keepdim=True)
        features = hash_grid(unit, table, self.spec)
        return features if bool(inside.all()) else torch.where(inside, features, 0.0)

    def density(self, points: Tensor, table: Tensor) -> tuple[Tensor, Tensor]:
        """Density [N] per field unit, and what the colour network reads, [N, geometry]."""
        raw = self.density_net(self.encode(points, table))
        return self.gain * softplus(raw[:, 0] - self.shift), raw[:, 1:]

    def colour(self, geometry: Tensor, directions: Tensor) -> Tensor:
        """[N, 3] display sRGB; directions: [N, 3] unit, in the field's frame."""
        return self.seen(geometry, spherical_harmonics(directions))

    def seen(self, geometry: Tensor, harmonics: Tensor) -> Tensor:
        """As `colour`, from the directions' harmonics [N, 16]: those of a ray are the same for all of its samples."""
        return torch.sigmoid(self.colour_net(torch.cat([harmonics, geometry], 1)))

    def forward(self, points: Tensor, directions: Tensor, table: Tensor) -> tuple[Tensor, Tensor]:
        """Density [N] and colour [N, 3]."""
        if torch.is_grad_enabled() or len(points) <= _CHUNK:
            density, geometry = self.density(points, table)
            return density, self.colour(geometry, directions)
        parts = [self(*part, table) for part in zip(points.split(_CHUNK), directions.split(_CHUNK), strict=True)]
        return torch.cat([density for density, _ in parts]), torch.cat([colour for _, colour in parts])
