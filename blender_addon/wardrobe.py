# SPDX-License-Identifier: GPL-3.0-or-later
"""Who an actor looks like: an image datablock becomes the vector that says so."""

from __future__ import annotations

import itertools

import bpy
import numpy as np

from .errors import SceneError

SIDE = 256  # pixels that the worker reads
_MAX_SIDE = 16384


def picture(image: bpy.types.Image) -> np.ndarray:
    """[256, 256, 3] uint8, top row first, as the image is shown: the square in its middle. Raises SceneError."""
    width, height = image.size
    if not (0 < width <= _MAX_SIDE and 0 < height <= _MAX_SIDE) or image.channels < 3:
        raise SceneError(f"Image '{image.name}' has no colours that can be read: choose a picture of the person.")
    pixels = np.empty(width * height * image.channels, np.float32)
    image.pixels.foreach_get(pixels)
    pixels = pixels.reshape(height, width, image.channels)[::-1, :, :3]
    side = min(width, height)
    top, left = (height - side) // 2, (width - side) // 2
    square = pixels[top : top + side, left : left + side]
    if image.is_float:  # scene-linear in memory; other images are as in their file
        square = np.where(square <= 0.0031308, square * 12.92, 1.055 * np.maximum(square, 1e-12) ** (1 / 2.4) - 0.055)
    return np.round(np.clip(_resized(square), 0, 1) * 255).astype(np.uint8)


def _resized(square: np.ndarray) -> np.ndarray:
    """To SIDE pixels by areas, which neither drop nor repeat any."""
    edges = np.linspace(0, len(square), SIDE + 1)
    weights = np.zeros((SIDE, len(square)))
    for row, (start, end) in enumerate(itertools.pairwise(edges)):
        cells = np.arange(int(start), min(int(np.ceil(end)), len(square)))
        weights[row, cells] = np.minimum(cells + 1, end) - np.maximum(cells, start)
    weights /= weights.sum(1, keepdims=True)
    return np.einsum("ay,yxc,bx->abc", weights, square, weights, optimize=True)
