"""Options of the published configuration; stored in the actor file."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Config:
    """What of the published system can vary from actor to actor."""

    reach: float = 0.06
    """metres around a vertex where rays are sampled"""
    textures: int = 1
    """texture maps in the file; a frame uses the one whose pose is nearest to its own"""
    texture_size: int = 512
    """pixels a side"""
