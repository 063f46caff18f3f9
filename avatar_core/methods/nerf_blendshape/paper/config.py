"""Options of the published configuration; stored in the actor file."""

from __future__ import annotations

from dataclasses import dataclass

from ..coefficients import EXPRESSIONS


@dataclass(frozen=True)
class Config:
    """The released flags; defaults are those of its scripts."""

    expressions: tuple[str, ...] = EXPRESSIONS
    """names of the coefficients, in the order of the tables"""
    mean: bool = True
    """a table more, whose coefficient is always 1; without, the first coefficient drives the first table"""
    levels: int = 16
    features: int = 4
    log2_size: int = 14
    base: int = 16
    finest: int = 1024
    width: int = 64
    """of hidden layers"""
    density_layers: int = 4
    colour_layers: int = 1
    geometry: int = 64
    """values that the density network hands to the colour network"""
    bound: float = 0.06
    """half the edge of the field's cube"""
    scale: float = 0.33
    """field units per metre of the head's frame"""
    resolution: int = 129
    """vertices of the density grid, a side"""

    @property
    def tables(self) -> int:
        return len(self.expressions) + int(self.mean)
