"""NeRFBlendShape made small and quick: compact tables, shallow networks, steps of one length through voxels that some
expression of the training fills."""

from __future__ import annotations

from .config import Config
from .model import Model

__all__ = ["Config", "Model"]
