"""Neural Actor as published (Liu et al. 2021): the arithmetic of the released renderer, stage by stage.

frame -> posed mesh -> rays near its vertices -> samples -> surface coordinates and canonical points (geometry) ->
texture features (texture) -> deformation, density, colour (field) -> pixels (rays).
"""

from __future__ import annotations

from .config import Config
from .model import Model

__all__ = ["Config", "Model"]
