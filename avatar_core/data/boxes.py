"""Boxes of pixels in a picture, about a face or a mouth, and pixels drawn from them for training."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

SIDE = 32  # pixels of a square


@dataclass(frozen=True)
class Box:
    """Pixels left <= x < right, top <= y < bottom."""

    left: int
    top: int
    right: int
    bottom: int


def square_in(box: Box, size: tuple[int, int], rng: np.random.Generator, side: int = SIDE) -> np.ndarray:
    """[side * side, 2] x, y of pixels, row by row, of a square in the box (or over its middle, where that is smaller)
    within a picture of size (width, height)."""
    side = min(side, *size)
    corners = []
    for low, high, whole in ((box.left, box.right, size[0]), (box.top, box.bottom, size[1])):
        first, last = low, high - side
        start = int(rng.integers(first, last + 1)) if last >= first else (low + high - side) // 2
        corners.append(int(np.clip(start, 0, whole - side)))
    rows, columns = np.mgrid[corners[1] : corners[1] + side, corners[0] : corners[0] + side]
    return np.stack([columns.ravel(), rows.ravel()], 1)


def in_box(box: Box, size: tuple[int, int], count: int, rng: np.random.Generator) -> np.ndarray:
    """[count, 2] x, y of pixels: nine in ten in the box, the rest anywhere."""
    inside = rng.integers((box.left, box.top), (max(box.right, box.left + 1), max(box.bottom, box.top + 1)), (count, 2))
    anywhere = rng.integers((0, 0), size, (count, 2))
    return np.where(np.arange(count)[:, None] < round(0.9 * count), inside, anywhere)
