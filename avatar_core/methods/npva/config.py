"""Options of the method; stored in the actor file."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from ...body.expressions import EXPRESSIONS, MERGED


@dataclass(frozen=True)
class Config:
    """The defaults are the released ones."""

    expressions: tuple[str, ...] = EXPRESSIONS
    """names of the coefficients that drive the head"""
    shape_keys: dict[str, Any] = field(default_factory=lambda: {name: list(keys) for name, keys in MERGED.items()})
    """the shape keys whose mean an expression is, where it is not driven by the one of its own name"""
    fine: bool = True
    """1024 x 1024 points; else 256 x 256"""
    displaced: bool = True
    """whether points leave the surface that the mesh loss holds"""
    features: int = 32
    """values that a point carries"""
    width: int = 128
    """of hidden layers"""
    neighbours: int = 8
    """points that a sample is mixed from, at most"""
    radius: float = 4.0
    """millimetres around a sample in which they lie"""
    samples: int = 20
    """of a ray"""
    reach: float = 20.0
    """millimetres on either side of the surface that a ray is sampled in"""
    split: float = 30.0
    """millimetres between the nearest and the farthest surface around a pixel from which on both are sampled alone"""
    span: float = 6.0
    """millimetres around a pixel in which surfaces are looked for"""
    opaque: bool = False
    """whether a ray that meets points lets no light through, as published; else its coverage is what it absorbs"""
    published: bool = False
    """whether rays are sampled, points found and samples added up as in the released code, which is slow here"""
    encoder: bool = False
    """whether the encoder is part of the actor, which makes latents of textures and position maps"""
    driver: int = 64
    """width of the network from coefficients to latents, 0 for a linear map"""
    mesh: bool = False
    """whether a tracked mesh drives the head as well, by a linear map that training frames fit"""
    wrapped: bool = True
    """whether the surface goes on over the left and right border of the texture"""
    capped: bool = True
    """whether the upper border is closed by a fan of triangles"""

    def check(self) -> None:
        """Raises ValueError for what no head has."""
        for name, keys in self.shape_keys.items():
            if name not in self.expressions or not isinstance(keys, list) or not all(isinstance(k, str) for k in keys):
                raise ValueError(f"shape_keys must be lists of names by expression, got '{name}': {keys!r}")
        counts = 1 <= self.features <= 128 and 1 <= self.width <= 512 and 1 <= self.neighbours <= 64
        lengths = 0 < self.radius <= 100 and 0 < self.reach <= 1000 and 0 <= self.split <= 1000
        if not (counts and lengths and len(self.expressions) <= 1024):
            raise ValueError("features must be 1-128, width 1-512, neighbours 1-64, radius, reach and split some mm")
        if not (
            2 <= self.samples <= 256 and self.samples % 2 == 0 and 0 <= self.span <= 100 and 0 <= self.driver <= 1024
        ):
            raise ValueError("samples must be an even number up to 256, span up to 100 mm and driver up to 1024")
