"""What the points around a sample make of it: density and colour (NPVA, section 3.3; the released networks).

Features and offsets of the neighbours are mixed first, by inverse distance, and the networks run once a sample.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import softplus

from ...cuda.mlp import run_mlp
from ...cuda.point_mix import point_mix
from .config import Config
from .encoder import SLOPE
from .published_mix import published_mix
from .surface import Points

_OCTAVES = 3, 5  # of features and of offsets
_VIEW_OCTAVES = 4
_OFFSETS = 6
_BEYOND = 0.001  # by which colours may leave [0, 1]


def view_octaves(directions: Tensor) -> Tensor:
    """[..., 24] of unit vectors [..., 3]: of all axes the sines of x, 2x, 4x, 8x, then the cosines."""
    angles = (directions[..., None] * 2.0 ** torch.arange(_VIEW_OCTAVES).to(directions)).flatten(-2)
    return torch.cat([angles.sin(), angles.cos()], -1)


class Aggregator(nn.Module):
    """Density per mm and colour, display sRGB, of samples."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        inputs = config.features * (1 + 2 * _OCTAVES[0]) + _OFFSETS * 2 * _OCTAVES[1]
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

    def encode(self, places: Tensor, indices: Tensor, points: Points, rotation: Tensor) -> Tensor:
        """What both networks read of samples [N, 3] mm and the points around them [N, K], -1 for none. rotation:
        [3, 3] to the camera's axes."""
        return point_mix(places, indices, points.positions, points.features, rotation, _OCTAVES)

    def encode_published(
        self, places: Tensor, indices: Tensor, points: Points, camera: tuple[Tensor, Tensor]
    ) -> Tensor:
        """The same with the released code's rounding. camera: its centre [3] and rotation to its axes [3, 3]."""
        return published_mix(places, indices, points.positions, points.features, camera, _OCTAVES)

    def densities(self, encoded: Tensor) -> Tensor:
        """[N] per mm."""
        return softplus(_run(self.density, [encoded])[..., 0] - 1)

    def colours(self, encoded: Tensor, directions: Tensor) -> Tensor:
        """[N, 3]; directions: [N, 3] of unit length, from the camera."""
        raw = _run(self.colour, [encoded, view_octaves(directions)])
        return torch.sigmoid(raw) * (1 + 2 * _BEYOND) - _BEYOND


def _run(layers: nn.ModuleList, parts: list[Tensor]) -> Tensor:
    linear = [layer for layer in layers if isinstance(layer, nn.Linear)]
    return run_mlp(parts, [layer.weight for layer in linear], [layer.bias for layer in linear], SLOPE)
