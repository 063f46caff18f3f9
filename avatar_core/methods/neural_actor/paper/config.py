"""Options of the published configuration; stored in the actor file."""

from __future__ import annotations

from dataclasses import dataclass

from ....config import ConfigError

CHOICES = {
    "encoder": ("published", "compact"),
    "sampler": ("published", "shell"),
    "surface": ("published", "seamless"),
    "views": ("world", "root"),
}


@dataclass(frozen=True)
class Config:
    """What of the published system can vary from actor to actor. Raises ConfigError for an unknown word."""

    reach: float = 0.06
    """metres around a vertex where rays are sampled"""
    textures: int = 0
    """texture maps in the file; a frame uses the one whose pose is nearest to its own. 0: a network paints the map of
    each pose"""
    texture_size: int = 512
    """pixels a side"""
    encoder: str = "published"
    """what reads texture maps: the first three stages of ResNet-34, 16 MB of the file; 'compact': half as wide, 4 MB"""
    sampler: str = "published"
    """how pictures are made, whatever the training: 'published' takes 65 samples in one interval of each ray, 'shell'
    every `step` of the quality near the surface, front to back, with colour only where something is seen"""
    surface: str = "published"
    """'seamless': the side of the surface is right at edges and corners too, and no lookup of the texture reads what
    lies outside of its charts"""
    views: str = "world"
    """the directions that colours depend on; 'root': against the root, so that turning the actor changes nothing"""

    def __post_init__(self) -> None:
        for name, words in CHOICES.items():
            if getattr(self, name) not in words:
                raise ConfigError(f"'{name}' must be {' or '.join(words)}, got {getattr(self, name)!r}")
