"""From a latent to maps in texture space: positions, displacements, features (NPVA, section 3.2; released networks).

Biases are maps, one value a texel: texture space has its own places for eyes and mouth.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import leaky_relu, pixel_shuffle

from .config import Config
from .encoder import LATENT, SLOPE, channels_last


class Maps(NamedTuple):
    """positions: [B, 3, 256, 256] less their mean and in standard deviations. displacements: [B, 3, S, S] mm, or None.
    features: [B, F, S, S]."""

    positions: Tensor
    displacements: Tensor | None
    features: Tensor


class Up(nn.Module):
    """Twice the side, which is `side` before."""

    def __init__(self, inputs: int, outputs: int, side: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, 3, padding=1, bias=False)
        self.bias = nn.Parameter(torch.zeros(outputs, side, side))
        self.norm = nn.BatchNorm2d(outputs)
        self.expand = nn.Conv2d(outputs, 4 * outputs, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.norm(self.conv(x) + self.bias)
        return pixel_shuffle(leaky_relu(self.expand(x), SLOPE), 2)


def _upwards(widths: Sequence[int]) -> nn.Sequential:
    return nn.Sequential(*(Up(*pair, LATENT[1] << level) for level, pair in enumerate(pairwise(widths))))


class Decoders(nn.Module):
    """z: [B, 4, 8, 8]."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self._published = config.published
        first, features = LATENT[0], config.features
        coarse = first, 32, 16, 16, 8, 3
        factors = (16, 8, 8, 4, 4, 2, 1) if config.fine else (8, 4, 4, 2, 1)
        self.geometry = _upwards(coarse)
        self.features = _upwards((first, *(factor * features for factor in factors)))
        self.displacement: nn.Sequential | None = None
        if config.displaced:
            self.displacement = _upwards((first, 64, 32, 32, 16, 16, 8, 3) if config.fine else coarse)

    def forward(self, z: Tensor) -> Maps:
        z = z if self._published and self.training else channels_last(z)
        displacements = None if self.displacement is None else self.displacement(z)
        return Maps(self.geometry(z), displacements, self.features(z))
