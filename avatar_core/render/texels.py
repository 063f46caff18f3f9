"""Values of a body's surface, spread over its texture layout."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ..body import Body
from ..cuda.raster import interpolate, rasterise
from ..errors import AvatarError


@dataclass(frozen=True)
class Texels:
    """The texels that lie on a body, v = 1 in the top row.

    face: [H, W] int64, -1 for none. bary: [H, W, 3]. faces: [F, 3] int64, the body's.
    """

    face: Tensor
    bary: Tensor
    faces: Tensor

    @classmethod
    def of(cls, body: Body, size: int) -> Texels:
        """size: texels a side. Raises AvatarError for a body without texture coordinates."""
        if not len(body.face_uv):
            raise AvatarError(f"the body '{body.name}' has no texture coordinates")
        uv = torch.tensor(body.uv, device="cpu") * size
        flat = torch.stack([uv[:, 0], size - uv[:, 1], torch.ones_like(uv[:, 0])], 1)
        raster = rasterise(flat, torch.tensor(body.face_uv, device="cpu").long(), size, size)
        return cls(raster.face, raster.bary, torch.tensor(body.faces, device="cpu").long())

    @property
    def mask(self) -> Tensor:
        """[H, W] bool: where the body is."""
        return self.face >= 0

    def spread(self, values: Tensor) -> Tensor:
        """values [V, C] of vertices at texels: [H, W, C], 0 where there is no body."""
        return interpolate(values, self.faces, self.face, self.bary)
