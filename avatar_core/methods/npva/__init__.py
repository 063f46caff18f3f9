"""Neural Point-based Volumetric Avatar (Wang et al., SIGGRAPH Asia 2023): a head of a million points near a tracked
surface.

texture and position map -> latent (encoder) -> positions, displacements and features in texture space (decoders) ->
points of the head (surface) -> samples around the rasterised depth (rays) -> density and colour of their nearest points
(aggregation) -> pixels (renderer). Millimetres within the method, metres outside.
"""

from __future__ import annotations

from .config import Config
from .model import Model

__all__ = ["Config", "Model"]
