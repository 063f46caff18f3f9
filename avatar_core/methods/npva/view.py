"""A camera and its rays in the frame of a head's points, millimetres."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from ...cuda.raster import interpolate, rasterise
from .config import Config
from .rays import depth_range, segments

_MOST_BORDER = 64  # pixels
_PUBLISHED_SPAN = 16  # pixels, at any size


@dataclass(frozen=True)
class View:
    """K: [3, 3], pixels. rotation, translation: [3, 3] and [3] mm, x_camera = R x + t. Size in pixels."""

    K: Tensor
    rotation: Tensor
    translation: Tensor
    height: int
    width: int
    border: int = 0  # pixels around the picture that was asked for

    @property
    def origin(self) -> Tensor:
        """[3] mm, where the camera is."""
        return -self.rotation.T @ self.translation

    def directions(self, pixels: Tensor) -> Tensor:
        """[R, 3] of unit length, through places [R, 2] of the picture (the centre of the first pixel at 0.5)."""
        places = torch.cat([pixels, torch.ones_like(pixels[:, :1])], 1)
        local = places @ torch.linalg.inv(self.K).T
        return torch.nn.functional.normalize(local @ self.rotation, dim=1)

    def depth_map(self, vertices: Tensor, faces: Tensor, flat: bool = False) -> Tensor:
        """Planar depth [H, W] of a surface, mm, 0 where there is none; differentiable. flat: interpolated linearly in
        the picture, without perspective, as published."""
        local = vertices @ self.rotation.T + self.translation
        seen = rasterise(local @ self.K.T, faces, self.height, self.width)
        if not flat:
            return torch.where(seen.face >= 0, seen.depth, 0.0)
        depth = torch.stack([local[:, 2], local[:, 2] ** 2], 1)
        weight, weighted = interpolate(depth, faces, seen.face, seen.bary).unbind(-1)
        return torch.where(seen.face >= 0, weighted / weight.clamp(min=1e-9), 0.0)

    def padded(self, span: float, vertices: Tensor) -> View:
        """The same with a border as wide as `span` mm at the nearest vertex [V, 3] before the camera."""
        local = vertices @ self.rotation[2] + self.translation[2]
        before = local[local > 0]
        border = math.ceil(span * float(self.K[1, 1] / before.min().clamp(min=span))) if len(before) else 0
        border = min(border, _MOST_BORDER)
        K = self.K.clone()
        K[:2, 2] += border
        return View(K, self.rotation, self.translation, self.height + 2 * border, self.width + 2 * border, border)

    def surface(self, vertices: Tensor, faces: Tensor) -> tuple[Tensor, Tensor]:
        """Planar depth [H, W], mm, and unit normals towards the camera, its axes, [H, W, 3]; 0 where there is none."""
        depth = self.depth_map(vertices, faces)
        K = self.K
        y, x = torch.meshgrid(*(torch.arange(side).to(K) + 0.5 for side in depth.shape), indexing="ij")
        place = (
            torch.stack([(x - K[0, 2]) / K[0, 0], (y - K[1, 2]) / K[1, 1], torch.ones_like(x)], -1) * depth[..., None]
        )
        along, down = torch.zeros_like(place), torch.zeros_like(place)
        along[:, 1:-1] = place[:, 2:] - place[:, :-2]
        down[1:-1] = place[2:] - place[:-2]
        normal = torch.nn.functional.normalize(torch.linalg.cross(down, along), dim=-1)
        return depth, torch.where((depth > 0)[..., None], normal, 0.0)

    def span(self, depth: Tensor, config: Config) -> int:
        """Pixels around a pixel in which surfaces are looked for."""
        if config.published:
            return _PUBLISHED_SPAN
        seen = depth[depth > 0]
        return max(1, round(config.span * float(self.K[1, 1] / seen.mean()))) if len(seen) else 1

    def distances(
        self, directions: Tensor, depth: Tensor, pixels: Tensor, config: Config, jitter: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Which of the rays [R, 3] through pixels [R, 2] int64 come near the surface, [R] bool, and where those R' are
        sampled, [R', samples] mm along them. depth: [H, W]. jitter: [R, samples] in [0, 1)."""
        depth = depth.detach()
        nearest, farthest = depth_range(depth, pixels, self.span(depth, config))
        near = farthest > 0
        nearest, farthest, directions = nearest[near], farthest[near], directions[near]
        if not config.published:
            own = depth[pixels[near, 1], pixels[near, 0]]
            missed = (own > 0) & (own - nearest > config.reach) & (farthest - own > config.reach)
            farthest = torch.where(missed, own, farthest)
            along = directions @ self.rotation[2]
            nearest, farthest = nearest / along, farthest / along
        return near, segments(nearest, farthest, config, None if jitter is None else jitter[near])
