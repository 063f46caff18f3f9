"""Options of the published configuration."""

from __future__ import annotations

from dataclasses import dataclass

from ..config import FieldConfig


@dataclass(frozen=True)
class Config(FieldConfig):
    """The released flags; defaults are those of its scripts."""

    resolution: int = 129
    """vertices of the density grid, a side"""
    perceptual: str = ""
    """weights of LPIPS on VGG-16 (nn/vgg.py), for patches of the face in the last phase of training; '': none"""

    def check(self) -> None:
        super().check()
        if not 8 <= self.resolution <= 513:
            raise ValueError("resolution must be 8-513")
