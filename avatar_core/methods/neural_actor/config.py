"""Options of the method; stored in the actor file."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Config:
    """Sizes of the networks, and the space around the body that is looked at."""

    levels: int = 14
    """levels of the canonical hash grid"""
    log2_table: int = 16
    """log2 of the entries of a level"""
    base_resolution: int = 16
    finest_resolution: int = 1024
    code: int = 16
    """width of the pose code on the surface"""
    hidden: int = 64
    """width of the networks"""
    reach_out: float = 0.08
    """metres outside of the body where clothes and hair may be"""
    reach_in: float = 0.02
    """metres inside of the body"""
    max_offset: float = 0.04
    """metres: the longest learnt residual deformation"""
    voxel: float = 0.01
    """metres: voxels that bound the samples of a pose"""
