"""From a frame's texture and position map to its latent (NPVA, section 3.2 and the released network)."""

from __future__ import annotations

from itertools import pairwise
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import leaky_relu

SLOPE = 0.2  # of every leaky ReLU
LATENT = 4, 8, 8
_MEAN, _LOG_STD = 0.1, 0.01  # of what the network says
_WIDTH = 512  # channels where textures come in


class Latent(NamedTuple):
    """A normal distribution [B, 4, 8, 8] of latents."""

    mean: Tensor
    log_std: Tensor

    def sample(self, noise: Tensor | None = None) -> Tensor:
        """noise: standard normal; drawn where it is None."""
        return self.mean + self.log_std.exp() * (torch.randn_like(self.mean) if noise is None else noise)


def channels_last(x: Tensor) -> Tensor:
    """The faster layout. Statistics of a batch and their gradients are summed less exactly in it, which costs gradients
    three digits: training as published goes without."""
    return x.contiguous(memory_format=torch.channels_last)


class Down(nn.Module):
    """Half the side, by a 4 x 4 convolution."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, 4, 2, 1)
        self.norm = nn.BatchNorm2d(outputs)

    def forward(self, x: Tensor) -> Tensor:
        return leaky_relu(self.norm(self.conv(x)), SLOPE)


class Encoder(nn.Module):
    """texture: [B, 3, 4 S, 4 S] in [0, 255], v = 1 in the top row. positions: [B, 3, S, S], less their mean and in
    standard deviations. S is 256 as published, and any multiple of 32. published: whether it trains exactly so."""

    def __init__(self, published: bool = False) -> None:
        super().__init__()
        self._published = published
        half = _WIDTH // 2
        self.texture = nn.Sequential(Down(3, _WIDTH), Down(_WIDTH, half))
        self.geometry = nn.Conv2d(3, half, 1)
        widths = (_WIDTH, 128, 64, 32, 16, 8)
        self.trunk = nn.Sequential(*(Down(*pair) for pair in pairwise(widths)))
        self.mean = nn.Conv2d(8, LATENT[0], 1)
        self.log_std = nn.Conv2d(8, LATENT[0], 1)

    def forward(self, texture: Tensor, positions: Tensor) -> Latent:
        if not (self._published and self.training):
            texture, positions = channels_last(texture), channels_last(positions)
        geometry = leaky_relu(self.geometry(positions), SLOPE)
        x = self.trunk(torch.cat([self.texture(texture), geometry], 1))
        return Latent(_MEAN * self.mean(x), _LOG_STD * self.log_std(x))
