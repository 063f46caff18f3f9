"""The published renderer: a posed mesh, a texture and rays in, pixels out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from .field import Field, TextureTerms
from .geometry import PosedMesh, SurfacePoints
from .rays import Pixels, composite, sample
from .seams import Gutter
from .texture import WIDTHS, TextureEncoder, sample_map

_RAYS = 1024  # at a time


@dataclass(frozen=True)
class Looked:
    """What the field says of N points before their colour. density: [N] 1/m. offset: [N, 3] metres, the residual
    deformation. features, code: [N, width]."""

    density: Tensor
    offset: Tensor
    features: Tensor
    code: Tensor
    texture: TextureTerms

    def at(self, index: Tensor) -> Looked:
        """Some of the points."""
        texture = TextureTerms(self.texture.deformation[index], self.texture.colour[index])
        return Looked(self.density[index], self.offset[index], self.features[index], self.code[index], texture)


class Renderer(nn.Module):
    """Texture encoder and field; in `eval` mode it is a function of its inputs alone. gutter: what fills texture maps
    outside of their charts; None leaves them as the encoder makes them. encoder: a word of texture.WIDTHS."""

    def __init__(self, gutter: Gutter | None = None, encoder: str = "published") -> None:
        super().__init__()
        self.encoder = TextureEncoder(WIDTHS[encoder])
        self.field = Field(self.encoder.channels)
        self.gutter = gutter

    def texture_map(self, image: Tensor) -> Tensor:
        """An image [H, W, 3] in [0, 1] (display sRGB, top row first) to what points look up: [512, H/2, W/2]."""
        folded = self.field.fold(self.encoder(image.permute(2, 0, 1)[None]))
        return folded if self.gutter is None else self.gutter.fill(folded)

    def look(self, at: SurfacePoints, folded: Tensor) -> Looked:
        """The field at points, but for colour."""
        lookup = sample_map if self.gutter is None else self.gutter.lookup
        terms = self.field.terms(lookup(folded, at.uv))
        code = self.field.code(at.local)
        offset = self.field.offset(code, terms)
        features = self.field.features(at.canonical + offset)
        return Looked(self.field.density(features), offset, features, code, terms)

    def colours(self, found: Looked, directions: Tensor) -> Tensor:
        """[N, 3], -1 to 1; directions: [N, 3] unit, in the space of the training."""
        return self.field.colours(found.features, found.code, found.texture, directions)

    def shade(self, at: SurfacePoints, folded: Tensor, directions: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Density [N], colour [N, 3] and residual deformation [N, 3] of points; directions as for `colours`."""
        found = self.look(at, folded)
        return found.density, self.colours(found, directions), found.offset

    def render(
        self,
        mesh: PosedMesh,
        folded: Tensor,
        rays: tuple[Tensor, Tensor],
        directions: Tensor,
        interval: tuple[Tensor, Tensor],
        noise: Tensor | None = None,
        check: Callable[[], None] = lambda: None,
    ) -> tuple[Pixels, Tensor]:
        """Pixels, and the residual deformation of all samples [S, 3].

        rays: origins and directions [R, 3] in the frame's space. directions: [R, 3], as for `colours`. interval: near
        and far [R] metres, of rays that hit. check: called between parts; may raise.
        """
        parts, offsets = [], []
        for part in torch.arange(len(directions), device=directions.device).split(_RAYS):
            check()
            distance, step = sample(interval[0][part], interval[1][part], None if noise is None else noise[part])
            points = rays[0][part, None] + distance[..., None] * rays[1][part, None]
            seen = directions[part, None].expand_as(points).reshape(-1, 3)
            with torch.set_grad_enabled(mesh.vertices.requires_grad):
                at = mesh.locate(points.reshape(-1, 3))
            density, colour, offset = self.shade(at, folded, seen)
            parts.append(composite(density.view_as(distance), colour.view_as(points), distance, step))
            offsets.append(offset)
        return Pixels.joined(parts), torch.cat(offsets)
