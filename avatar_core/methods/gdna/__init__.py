"""gDNA (Chen et al. 2022): clothed people from two codes, as geometry that is posed by SMPL.

Shape code -> a feature volume (networks.Generator) -> occupancy in a canonical pose and skinning weights (field) -> a
mesh (extraction) -> linear blend skinning. Detail code -> normals of that surface. There is no colour.
"""

from __future__ import annotations

from .config import Config
from .model import Model
from .trainee import Trainee, TrainingConfig

__all__ = ["Config", "Model", "Trainee", "TrainingConfig"]
