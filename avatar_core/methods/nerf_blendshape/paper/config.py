"""Options of the published configuration."""

from __future__ import annotations

from dataclasses import dataclass

from ..config import FieldConfig


@dataclass(frozen=True)
class Config(FieldConfig):
    """The released flags; defaults are those of its scripts."""

    resolution: int = 129
    """vertices of the density grid, a side"""
    perceptual: bool = False
    """LPIPS on patches of the face in the last phase of training; needs the package lpips"""

    def check(self) -> None:
        super().check()
        if not 8 <= self.resolution <= 513:
            raise ValueError("resolution must be 8-513")
