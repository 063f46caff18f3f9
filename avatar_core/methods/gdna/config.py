"""Options of an actor; every tensor's shape follows from them."""

from __future__ import annotations

from dataclasses import dataclass

from ...config import ConfigError

PICTURES = ("shaded", "normals", "colour")


@dataclass(frozen=True)
class Config:
    """Raises ConfigError for an unknown word."""

    people: int = 2
    """scans that the codes were learnt from"""
    frequencies: int = 0
    """of the normal network's encoding; 0: there is no such network, normals are those of the mesh"""
    picture: str = "shaded"
    """what pictures show: 'shaded', grey lit from the camera, 'normals', world normals as colours, or 'colour', that of
    textured scans"""
    cell: float = 0.008
    """metres between grid points of the surface that is rendered"""
    colours: int = 0
    """frequencies of the colour network's encoding; 0: there is no such network"""

    def __post_init__(self) -> None:
        if self.picture not in PICTURES:
            raise ConfigError(f"'picture' must be {' or '.join(PICTURES)}, got {self.picture!r}")
        if self.picture == "colour" and not self.colours:
            raise ConfigError(
                "'picture: colour' needs a network of colours, which only training on textured scans gives"
            )
