"""Solid textures: colours as functions of the rest position, baked into texture maps."""

from __future__ import annotations

import numpy as np
from scipy.ndimage import distance_transform_edt, map_coordinates

_LATTICE = np.random.default_rng(3).random((64, 64, 64)).astype(np.float32)
_CHUNK = 4096  # triangles baked at a time


def colour(red: int, green: int, blue: int) -> np.ndarray:
    """[3] display sRGB, 0 to 1, from 0 to 255."""
    return np.array((red, green, blue), np.float32) / 255


def mix(first: np.ndarray, second: np.ndarray, share: np.ndarray) -> np.ndarray:
    """Colours [..., 3] from `first` to `second` by `share` [...], 0 to 1."""
    share = np.asarray(share, np.float32)[..., None]
    return first * (1 - share) + second * share


def step(low: float, high: float, x: np.ndarray) -> np.ndarray:
    """0 below `low`, 1 above `high`, smooth between; falling when low > high."""
    t = np.clip((x - low) / (high - low), 0, 1)
    return t * t * (3 - 2 * t)


def noise(points: np.ndarray) -> np.ndarray:
    """Smooth noise of unit wave length, 0 to 1: [..., 3] -> [...]."""
    points = np.asarray(points, np.float32)
    cell = np.floor(points)
    place = np.moveaxis(cell % 64 + step(0, 1, points - cell), -1, 0)
    return map_coordinates(_LATTICE, place, order=1, mode="grid-wrap")


def fractal(points: np.ndarray, octaves: int = 4) -> np.ndarray:
    """Noise at several scales, 0 to 1 (nearly): [..., 3] -> [...]."""
    points = np.asarray(points)
    layers = [noise(points * 2**k + 17 * k) * 0.5 ** (k + 1) for k in range(octaves)]
    return np.sum(layers, 0)


def bake(corner_uv: np.ndarray, corner_values: np.ndarray, size: int) -> np.ndarray:
    """Values at corners of triangles as a texture map: [F, 3, 2] and [F, 3, K] -> [size, size, K] float32.

    Row 0 is the top (v = 1). Texels outside of all triangles take the nearest texel inside.
    """
    corners = corner_uv * size - 0.5
    corners[..., 1] = size - 1 - corners[..., 1]
    out = np.zeros((size, size, corner_values.shape[2]), np.float32)
    empty = np.ones((size, size), bool)
    for start in range(0, len(corners), _CHUNK):
        part = slice(start, start + _CHUNK)
        triangle, x, y, share = _texels(corners[part], size)
        out[y, x] = (share[:, :, None] * corner_values[part][triangle]).sum(1)
        empty[y, x] = False
    rows, columns = distance_transform_edt(empty, return_distances=False, return_indices=True)
    return out[rows, columns]


def _texels(corners: np.ndarray, size: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Texels inside of triangles [F, 3, 2]: triangle, column and row [N], barycentric shares [N, 3]."""
    low = np.clip(np.ceil(corners.min(1)), 0, size - 1).astype(np.int64)
    high = np.clip(np.floor(corners.max(1)), 0, size - 1).astype(np.int64)
    width, height = np.maximum(high - low + 1, 0).T
    count = width * height
    triangle = np.repeat(np.arange(len(corners)), count)
    place = np.arange(len(triangle)) - np.repeat(np.cumsum(count) - count, count)
    x, y = low[triangle, 0] + place % width[triangle], low[triangle, 1] + place // width[triangle]
    a, b, c = np.moveaxis(corners[triangle], 1, 0)
    point = np.stack([x, y], 1)
    area = _cross(b - a, c - a)
    area = np.where(np.abs(area) < 1e-12, np.inf, area)
    second, third = _cross(point - a, c - a) / area, _cross(b - a, point - a) / area
    share = np.stack([1 - second - third, second, third], 1)
    inside = (share >= -1e-6).all(1) & np.isfinite(area)
    return triangle[inside], x[inside], y[inside], share[inside].astype(np.float32)


def _cross(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return a[:, 0] * b[:, 1] - a[:, 1] * b[:, 0]
