"""Options that the field of every configuration has; stored in the actor file."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from ...body.expressions import EXPRESSIONS, MERGED


@dataclass(frozen=True)
class FieldConfig:
    """Tables, networks, and the cube that they fill. The defaults are the released ones."""

    expressions: tuple[str, ...] = EXPRESSIONS
    """names of the coefficients, in the order of the tables"""
    shape_keys: dict[str, Any] = field(default_factory=lambda: {name: list(keys) for name, keys in MERGED.items()})
    """the shape keys whose mean an expression is, where it is not driven by the one of its own name"""
    mean: bool = True
    """a table more, whose coefficient is always 1; without, the first coefficient drives the first table"""
    principal: int = 0
    """tables that are stored, in 8 bits, of whose mixtures the expressions' consist (`compact`); 0: a table each"""
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
    gain: float = 1.0
    """density per field unit is gain * softplus(value of the network - shift)"""
    shift: float = 0.0
    bound: float = 0.06
    """half the edge of the field's cube"""
    scale: float = 0.33
    """field units per metre of the head's frame"""

    @property
    def tables(self) -> int:
        return len(self.expressions) + int(self.mean)

    def check(self) -> None:
        """Raises ValueError for what no field has."""
        for name, keys in self.shape_keys.items():
            known = name in self.expressions or name in MERGED  # those of the default, which other trackers lack
            if not known or not isinstance(keys, list) or not all(isinstance(k, str) for k in keys):
                raise ValueError(f"shape_keys must be lists of names by expression, got '{name}': {keys!r}")
        if not 0 <= self.principal <= self.tables:
            raise ValueError(f"principal must be at most {self.tables}, the number of tables")
        wide = self.width % 16 == 0 and 16 <= self.width <= 512 and 1 <= self.geometry <= 512
        deep = 1 <= self.density_layers <= 16 and 1 <= self.colour_layers <= 16
        if not (wide and deep and 1 <= self.tables <= 1024):
            raise ValueError("widths must be multiples of 16 up to 512, layers up to 16 and tables up to 1024")
        if not (
            0 < self.gain <= 1e6
            and abs(self.shift) < 100
            and 0 < self.bound <= 10
            and 0 < self.scale <= 1000
            and 2 <= self.base <= self.finest
        ):
            raise ValueError(
                "gain must be up to 1e6, shift below 100, bound up to 10, scale up to 1000, and finest not below base"
            )
