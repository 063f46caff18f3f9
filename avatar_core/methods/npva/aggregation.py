"""What the points around a sample make of it: density and colour (NPVA, section 3.3; the released networks).

Features and offsets of the neighbours are mixed first, by inverse distance, and the networks run once a sample.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import leaky_relu, softplus

from .config import Config
from .encoder import SLOPE

_FEATURE_OCTAVES, _OFFSET_OCTAVES, _VIEW_OCTAVES = 3, 5, 4
_OFFSETS = 6
_NEAREST = 1e-6  # mm, of distances that are divided by
_BEYOND = 0.001  # by which colours may leave [0, 1]


def octaves(x: Tensor, count: int) -> Tensor:
    """[..., C * 2 * count]: of each value sin x, cos x, sin 2x, cos 2x, sin 4x, ..."""
    angles = x[..., None] * 2.0 ** torch.arange(count, device=x.device, dtype=x.dtype)
    return torch.stack([angles.sin(), angles.cos()], -1).flatten(-3)


def view_octaves(directions: Tensor) -> Tensor:
    """[..., 24] of unit vectors [..., 3]: of all axes the sines of x, 2x, 4x, 8x, then the cosines."""
    angles = (directions[..., None] * 2.0 ** torch.arange(_VIEW_OCTAVES).to(directions)).flatten(-2)
    return torch.cat([angles.sin(), angles.cos()], -1)


class Aggregator(nn.Module):
    """Density per mm and colour, display sRGB, of samples."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        inputs = config.features * (1 + 2 * _FEATURE_OCTAVES) + _OFFSETS * 2 * _OFFSET_OCTAVES
        width = config.width
        self.density = nn.ModuleList([nn.Linear(inputs, width), nn.Linear(width, 1)])
        seen = inputs + 3 * 2 * _VIEW_OCTAVES
        self.colour = nn.ModuleList(
            [nn.Linear(seen, width), nn.Linear(width, width), nn.Linear(width, width), nn.Linear(width, 3)]
        )
        for layers in (self.density, self.colour):
            for layer in layers:
                gain = 1.0 if layer is layers[-1] else nn.init.calculate_gain("leaky_relu", SLOPE)
                nn.init.xavier_uniform_(layer.weight, gain)  # type: ignore[arg-type]
                nn.init.zeros_(layer.bias)  # type: ignore[arg-type]

    def mix(self, features: Tensor, offsets: Tensor, present: Tensor, to_camera: Tensor) -> tuple[Tensor, Tensor]:
        """Of K neighbours of N samples: mean features [N, F] and offsets [N, 6], the points' axes and the camera's.

        features: [N, K, F]. offsets: [N, K, 3] mm from the sample to the point. present: [N, K]. to_camera: [3, 3].
        """
        weight = present / offsets.norm(dim=-1).clamp(min=_NEAREST)
        weight = (weight / weight.sum(-1, keepdim=True).clamp(min=1e-8))[..., None]
        mean = (weight * offsets).sum(1)
        return (weight * features).sum(1), torch.cat([mean, mean @ to_camera.T], -1)

    def encode(self, features: Tensor, offsets: Tensor) -> Tensor:
        """What both networks read, [N, 284] with 32 features."""
        parts = features, octaves(features, _FEATURE_OCTAVES), octaves(offsets, _OFFSET_OCTAVES)
        return torch.cat(parts, -1)

    def densities(self, encoded: Tensor) -> Tensor:
        """[N] per mm."""
        return softplus(_run(self.density, encoded)[..., 0] - 1)

    def colours(self, encoded: Tensor, directions: Tensor) -> Tensor:
        """[N, 3]; directions: [N, 3] of unit length, from the camera."""
        raw = _run(self.colour, torch.cat([encoded, view_octaves(directions)], -1))
        return torch.sigmoid(raw) * (1 + 2 * _BEYOND) - _BEYOND


def _run(layers: nn.ModuleList, x: Tensor) -> Tensor:
    for layer in layers[:-1]:
        x = leaky_relu(layer(x), SLOPE)
    return layers[-1](x)
