"""Neural Actor (Liu et al., SIGGRAPH Asia 2021): a canonical radiance field around a body that is posed.

This is the *fast* configuration: hash-grid field, pose code on the surface instead of a texture network.
"""

from .config import Config
from .model import Model

__all__ = ["Config", "Model"]
