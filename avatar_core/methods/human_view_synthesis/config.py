"""Options of a model; every tensor's shape follows from them."""

from __future__ import annotations

from dataclasses import dataclass

from ...config import ConfigError
from .skeleton import HUMAN36M, SKELETONS, Skeleton


@dataclass(frozen=True)
class Config:
    """Raises ConfigError for what no model has."""

    skeleton: str = HUMAN36M.name
    """'human36m17' or 'panoptic117'"""
    published: bool = False
    """the published arithmetic, flicker included, and its pictures on one colour; for imported checkpoints"""
    alpha: bool = True
    """the decoder gives coverage too; without, it is guessed from the background's colour"""
    size: int = 256
    """pixels a side of the pictures that the model was trained on"""
    latent: int = 256
    """pixels a side of the latent image; a power of two below `size`, or the same"""
    features: int = 16
    """of a Gaussian"""
    base: int = 64
    """channels of the decoder's first layers"""
    per_limb: int = 1
    """Gaussians on a limb"""
    density: float = 0.0
    """per metre: nearer limbs hide those behind them; 0 blends them all, as published"""
    extent: float = 2.4
    """metres that the side of a picture spans at the person"""
    encoder: bool = True
    """there is the network that reads an appearance from a picture"""
    encoder_base: int = 64
    """channels of its first layers: 8, 16 or a multiple of 32"""
    encoder_size: int = 0
    """pixels a side of the pictures that it reads; 0: 256, or `size` where that is less"""
    pose_width: int = 1024
    """of the network that lifts 2D poses; 0 without"""
    dropout: float = 0.1
    """of that network in training"""

    def __post_init__(self) -> None:
        if self.skeleton not in SKELETONS:
            raise ConfigError(f"'skeleton' must be {' or '.join(SKELETONS)}, got {self.skeleton!r}")
        ratio = self.size // max(1, self.latent)
        square = self.latent % 16 == 0 and 16 <= self.latent <= 4096 and ratio in (1, 2, 4, 8)
        if not (square and self.size == ratio * self.latent):
            raise ConfigError("'latent' must be a multiple of 16 up to 4096, and 'size' 1, 2, 4 or 8 times as much")
        if not (
            1 <= self.features <= 256 and 8 <= self.base <= 512 and self.base % 8 == 0 and 1 <= self.per_limb <= 64
        ):
            raise ConfigError("'features' must be up to 256, 'base' a multiple of 8 up to 512, 'per_limb' up to 64")
        if self.encoder_base not in (8, 16) and not (0 < self.encoder_base <= 256 and self.encoder_base % 32 == 0):
            raise ConfigError("'encoder_base' must be 8, 16 or a multiple of 32 up to 256")
        if self.encoder_size != 0 and not 32 <= self.encoder_size <= 1024:
            raise ConfigError("'encoder_size' must be from 32 to 1024, or 0")
        if not (0 <= self.pose_width <= 8192 and self.pose_width % 32 == 0 and 0 <= self.dropout < 1):
            raise ConfigError("'pose_width' must be a multiple of 32 up to 8192, and 'dropout' below 1")
        if not 0.1 <= self.extent <= 100:
            raise ConfigError("'extent' must be from 0.1 to 100 metres")
        if not 0 <= self.density <= 1e6:
            raise ConfigError("'density' must be from 0 to 1e6")

    def skeleton_of(self) -> Skeleton:
        return SKELETONS[self.skeleton]

    @property
    def reads(self) -> int:
        """Pixels a side of the pictures that appearances are read from."""
        return self.encoder_size or min(256, self.size)

    @property
    def enlarge(self) -> int:
        """Doublings from the latent image to the picture."""
        return (self.size // self.latent).bit_length() - 1
