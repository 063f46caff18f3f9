"""HumanViewSynthesis (Rochette, Russell and Bowden 2021): any skeleton to pixels.

Gaussians on the limbs of a pose, each with a feature vector that says how the person looks there, are blended into a
latent image in closed form; one convolutional decoder, modulated by the same vectors, makes a picture of it.
"""

from __future__ import annotations

from .config import Config
from .model import Model

__all__ = ["Config", "Model"]
