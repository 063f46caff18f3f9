"""NeRFBlendShape as published: the arithmetic of the released code, stage by stage.

coefficients -> mixed table; pixel -> ray in the cube (march, occupancy) -> density and colour (field) -> pixel
(compositing).
"""

from __future__ import annotations

from .config import Config
from .model import Model

__all__ = ["Config", "Model"]
