"""How much work a picture is worth, and how its making is stopped."""

from __future__ import annotations

from dataclasses import dataclass

from .errors import AvatarError


class Cancelled(Exception):
    """A render that was told to stop."""


@dataclass(frozen=True)
class Quality:
    """How much work a picture is worth.

    step: metres between samples along a ray. scale: rendered pixels per pixel of the picture, a side; a whole
    number above 1 smooths edges. stop: a ray ends when less than this share of light passes.
    """

    step: float
    scale: float
    stop: float


QUALITIES = {
    "draft": Quality(step=0.012, scale=0.5, stop=0.05),
    "preview": Quality(step=0.008, scale=1.0, stop=0.01),
    "final": Quality(step=0.008, scale=2.0, stop=0.005),
}


def quality_named(name: str) -> Quality:
    """The preset; raises AvatarError that lists the presets."""
    if name not in QUALITIES:
        raise AvatarError(f"unknown quality '{name}'; choose one of {', '.join(QUALITIES)}")
    return QUALITIES[name]
