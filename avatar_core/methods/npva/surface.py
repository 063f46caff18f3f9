"""The surface that decoded positions span, and the points on it (NPVA, section 3.2).

A map's row 0 is the top of the head; columns go around it.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from torch import Tensor
from torch.nn.functional import interpolate

from .decoders import Maps

SIDE = 256  # of position maps


class Points(NamedTuple):
    """Of a head: positions [N, 3] mm, its own frame; features [N, F]. vertices: [SIDE * SIDE, 3] mm, of its surface."""

    positions: Tensor
    features: Tensor
    vertices: Tensor


def triangles(wrapped: bool, capped: bool, side: int = SIDE) -> np.ndarray:
    """[F, 3] int32, vertices of a map row by row. wrapped: the last column meets the first. capped: row 0 is closed by
    triangles between its left half and its right half. The order is the published one."""
    columns = side if wrapped else side - 1
    row, column = (part.ravel() for part in np.mgrid[0 : side - 1, 0:columns])
    right = (column + 1) % side
    a, b, c, d = side * row + column, side * row + right, side * (row + 1) + column, side * (row + 1) + right
    cells = np.stack([np.stack([c, b, a], 1), np.stack([c, d, b], 1)], 1).reshape(-1, 3)
    if not capped:
        return cells.astype(np.int32)
    k = np.arange(side // 2 - 1)
    cap = np.stack([np.stack([k, k + 1, side - 2 - k], 1), np.stack([k, side - 2 - k, side - 1 - k], 1)], 1)
    return np.concatenate([cells, cap.reshape(-1, 3)]).astype(np.int32)


def points(maps: Maps, mean: Tensor, deviation: Tensor) -> Points:
    """Of one head (a batch of 1). mean: [3, SIDE, SIDE] mm. deviation: scalar, mm."""
    coarse = maps.positions * deviation + mean
    size = maps.features.shape[-2:]
    fine = coarse if size == coarse.shape[-2:] else interpolate(coarse, size=size, mode="bilinear")
    if maps.displacements is not None:
        fine = fine + maps.displacements
    return Points(*(_rows(part) for part in (fine, maps.features, coarse)))


def position_map(vertices: Tensor) -> Tensor:
    """The map [3, SIDE, SIDE] of surface vertices [SIDE * SIDE, 3]."""
    return vertices.T.reshape(3, SIDE, SIDE)


def _rows(values: Tensor) -> Tensor:
    return values[0].permute(1, 2, 0).reshape(-1, values.shape[1])
