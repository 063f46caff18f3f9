# SPDX-License-Identifier: GPL-3.0-or-later
"""Several actors in one picture: whoever is closer covers, pixel by pixel. numpy only."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from .box import Box, box_of

EMPTY_DEPTH = 1e10  # metres


@dataclass(frozen=True)
class Layer:
    """One actor's picture, or the picture of all; float32, any row order."""

    rgba: np.ndarray  # [H, W, 4] premultiplied
    depth: np.ndarray  # [H, W] planar, metres
    normal: np.ndarray  # [H, W, 3]
    ahead: float = 0.0  # metres: so much closer it counts among the layers
    limb: np.ndarray | None = None  # [H, W] the limb that shows, counted from 1; 0: none


@dataclass(frozen=True)
class Picture:
    """All actors together, and what is seen of each."""

    rgba: np.ndarray  # [H, W, 4] premultiplied
    depth: np.ndarray  # [H, W] of the closest actor
    normal: np.ndarray  # [H, W, 3] of the closest actor
    masks: tuple[np.ndarray, ...]  # each [H, W], coverage that nobody hides
    limb: np.ndarray | None = None  # [H, W] of the closest actor, 0 where it has none; None where no actor has limbs

    def box(self) -> Box:
        """What the actors cover, and a margin."""
        return box_of(self.depth < EMPTY_DEPTH)

    def part(self, box: Box) -> Picture:
        masks, limb = tuple(map(box.of, self.masks)), self.limb
        limb = box.of(limb) if limb is not None else None
        return Picture(box.of(self.rgba), box.of(self.depth), box.of(self.normal), masks, limb)


def combine(layers: Sequence[Layer], masks: Sequence[np.ndarray], width: int, height: int) -> Picture:
    """`layers` over each other by their depths in each pixel; `masks` are their coverages [H, W]."""
    if not layers:
        return Picture(
            np.zeros((height, width, 4), np.float32),
            np.full((height, width), EMPTY_DEPTH, np.float32),
            np.zeros((height, width, 3), np.float32),
            (),
        )
    if len(layers) == 1:
        return Picture(layers[0].rgba, layers[0].depth, layers[0].normal, (masks[0],), layers[0].limb)
    depths = np.stack([layer.depth - np.float32(layer.ahead) for layer in layers])
    order = np.argsort(depths, axis=0, kind="stable")  # [N, H, W], closest first
    rgba = np.zeros((height, width, 4), np.float32)
    seen = [np.zeros((height, width), np.float32) for _ in layers]
    through = np.ones((height, width), np.float32)  # what the closer ones let pass
    for rank in order:
        for index, layer in enumerate(layers):
            here = rank == index
            rgba[here] += through[here, None] * layer.rgba[here]
            seen[index][here] = through[here] * masks[index][here]
            through[here] *= 1 - layer.rgba[here, 3]
    depth = np.min([layer.depth for layer in layers], axis=0)
    normal, limb = np.zeros((height, width, 3), np.float32), np.zeros((height, width), np.float32)
    for index, layer in enumerate(layers):
        closest = order[0] == index
        normal[closest] = layer.normal[closest]
        if layer.limb is not None:
            limb[closest] = layer.limb[closest]
    limbed = any(layer.limb is not None for layer in layers)
    return Picture(rgba, depth, normal, tuple(seen), limb if limbed else None)
