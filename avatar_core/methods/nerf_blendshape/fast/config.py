"""Options of the fast configuration."""

from __future__ import annotations

from dataclasses import dataclass

from ..config import FieldConfig


@dataclass(frozen=True)
class Config(FieldConfig):
    """Tables and networks that learn in minutes on a CPU; 47 tables make a file of 24 MB."""

    levels: int = 8
    log2_size: int = 13
    finest: int = 400
    density_layers: int = 1
    colour_layers: int = 2
    geometry: int = 15
    gain: float = 200.0
    shift: float = 3.0
    share: float = 0.2
    """what an expression counts against the mean: with less, what all frames have in common is learnt by the mean"""
    voxels: int = 64
    """of the occupancy grid, a side"""
    step: float = 0.0018
    """metres between samples in training"""

    def check(self) -> None:
        super().check()
        if not (8 <= self.voxels <= 256 and self.voxels % 4 == 0 and 1e-5 < self.step < 1 and 0 < self.share <= 1):
            raise ValueError("voxels must be a multiple of 4 from 8 to 256, step below 1 m, and share up to 1")
