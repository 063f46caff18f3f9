"""The canonical radiance field with its residual deformation (Neural Actor, eq. 6-8 and the released networks).

local (2u - 1, 2v - 1, h) -> code; (code, texture) -> offset of the canonical point; point -> features -> density;
(features, code, texture, view direction) -> colour in [-1, 1].
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ....nn.encoding import frequencies

_POINT_OCTAVES, _VIEW_OCTAVES = 6, 4
_SKIP = 4  # the layer of the trunk that sees the point again


@dataclass(frozen=True)
class TextureTerms:
    """What the texture adds to the first layers that read it, deformation [N, width] and colour [N, width].

    Those layers are linear, and so is looking a texture up: multiplying the whole map by their weights once a frame and
    sampling the products is the same as sampling 512 channels for every point.
    """

    deformation: Tensor
    colour: Tensor


class Field(nn.Module):
    """texture: channels of the texture features."""

    def __init__(self, texture: int, width: int = 256) -> None:
        super().__init__()
        point, view = 3 * (2 * _POINT_OCTAVES + 1), 3 * (2 * _VIEW_OCTAVES + 1)
        self.texture, self.width = texture, width
        self.local = nn.ModuleList([nn.Linear(point, width), *(nn.Linear(width, width) for _ in range(3))])
        self.deform_in, self.deform_out = nn.Linear(width + texture, width), nn.Linear(width, 3)
        trunk = [nn.Linear(width, width) for _ in range(8)]
        trunk[0], trunk[_SKIP] = nn.Linear(point, width), nn.Linear(point + width, width)
        self.trunk = nn.ModuleList(trunk)
        self.density_in, self.density_out = nn.Linear(width, width // 2), nn.Linear(width // 2, 1)
        inputs = 2 * width + texture + view
        self.colour_in = nn.Linear(inputs, width)
        self.colour = nn.ModuleList(nn.Linear(width, width) for _ in range(3))
        self.colour_out = nn.Linear(width, 3)
        for layer in self.modules():
            if isinstance(layer, nn.Linear):
                nn.init.kaiming_normal_(layer.weight)
        nn.init.zeros_(self.deform_out.weight)
        nn.init.zeros_(self.deform_out.bias)
        nn.init.constant_(self.density_out.bias, 0.5)

    def code(self, local: Tensor) -> Tensor:
        """[N, 3] to [N, width]."""
        x = frequencies(local, _POINT_OCTAVES)
        for layer in self.local:
            x = torch.relu(layer(x))
        return x

    def fold(self, features: Tensor) -> Tensor:
        """A texture's feature map [texture, H, W] as what `terms` splits: [2 width, H, W]."""
        start = 2 * self.width
        colour = self.colour_in.weight[:, start : start + self.texture]
        weights = torch.cat([self.deform_in.weight[:, self.width :], colour])
        return torch.einsum("oc,chw->ohw", weights, features)

    def terms(self, folded: Tensor) -> TextureTerms:
        """Samples [N, 2 width] of a folded map."""
        return TextureTerms(*folded.split(self.width, 1))

    def offset(self, code: Tensor, texture: TextureTerms) -> Tensor:
        """The residual deformation [N, 3], metres."""
        layer = self.deform_in
        hidden = nn.functional.linear(code, layer.weight[:, : self.width], layer.bias) + texture.deformation
        return self.deform_out(torch.relu(hidden))

    def features(self, points: Tensor) -> Tensor:
        """Canonical points [N, 3], metres, to [N, width]."""
        encoded = frequencies(points, _POINT_OCTAVES, math.pi)
        x = encoded
        for number, layer in enumerate(self.trunk):
            if number == _SKIP:
                x = torch.cat([encoded, x], 1) / math.sqrt(2)
            x = torch.relu(layer(x))
        return x

    def density(self, features: Tensor) -> Tensor:
        """[N], 1/m; negative values count as none."""
        return self.density_out(torch.relu(self.density_in(features))).squeeze(1)

    def colours(self, features: Tensor, code: Tensor, texture: TextureTerms, directions: Tensor) -> Tensor:
        """[N, 3], display sRGB with -1 for black and 1 for white, not clamped. directions: [N, 3] unit, world."""
        layer, start = self.colour_in, 2 * self.width
        seen = torch.cat([features, code, frequencies(directions, _VIEW_OCTAVES, math.pi)], 1)
        weight = torch.cat([layer.weight[:, :start], layer.weight[:, start + self.texture :]], 1)
        x = torch.relu(nn.functional.linear(seen, weight, layer.bias) + texture.colour)
        for hidden in self.colour:
            x = torch.relu(hidden(x))
        return self.colour_out(x)
