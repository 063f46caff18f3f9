"""The subject of the recordings: a head of formulas before a camera, in four expressions.

Millimetres; the head's frame is x right, y down, z away from the camera that looks at its face.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

FRAMES = 4
COLUMNS, ROWS = 25, 19  # vertices around the head, and upwards
PHOTO = 1334, 2048  # width, height of pictures and depth maps on disk
FOCAL = 5.35 * PHOTO[1] / 2
SIDE, TEXTURE = 256, 1024


def albedo(u: np.ndarray, v: np.ndarray, frame: int) -> np.ndarray:
    """[..., 3] in [0, 1]."""
    turn = 2 * np.pi
    skin = (0.75 + 0.1 * np.sin(9 * u * turn), 0.55 + 0.1 * np.sin(7 * v * turn + frame))
    colour = np.stack([*skin, 0.45 + 0.1 * np.cos(5 * (u + v) * turn)], -1)
    around = turn * (u - 0.5)
    mouth = np.exp(-((around / 0.3) ** 2 + ((v - 0.36) / 0.04) ** 2))[..., None]
    eyes = np.exp(-(((np.abs(around) - 0.35) / 0.12) ** 2 + ((v - 0.58) / 0.025) ** 2))[..., None]
    colour = colour * (1 - mouth) + np.array([0.6, 0.15, 0.15]) * mouth
    return np.clip(colour * (1 - eyes) + np.array([0.1, 0.1, 0.15]) * eyes, 0, 1)


def mean_positions() -> tuple[np.ndarray, float]:
    """Mean [3, SIDE, SIDE] and standard deviation of the position maps of all frames."""
    maps = np.stack([Frame(number).positions for number in range(FRAMES)])
    mean = maps.mean(0)
    return mean, float(np.sqrt(((maps - mean) ** 2).mean()))


@dataclass(frozen=True)
class Frame:
    """One expression."""

    number: int

    @cached_property
    def grid(self) -> np.ndarray:
        """Vertices [ROWS, COLUMNS, 3], the lowest row first."""
        u, v = np.meshgrid(np.linspace(0, 1, COLUMNS), np.linspace(0, 1, ROWS))
        around = 2 * np.pi * (u - 0.5)
        radius = np.interp(v, [0, 0.15, 0.3, 0.55, 0.8, 0.93, 1], [60, 62, 72, 85, 80, 45, 4])
        mouth = np.exp(-((around / 0.3) ** 2 + ((v - 0.36) / 0.05) ** 2))
        nose = 18 * np.exp(-((around / 0.18) ** 2 + ((v - 0.5) / 0.07) ** 2))
        smile, jaw = 4 * np.sin(self.number), 2.0 * self.number
        x = radius * np.sin(around) + smile * mouth * np.sign(around)
        y = np.interp(v, [0, 1], [150.0, -120.0]) + jaw * mouth
        z = -1.12 * radius * np.cos(around) - nose - 0.3 * smile * mouth
        return np.stack([x, y, z], -1)

    @cached_property
    def positions(self) -> np.ndarray:
        """The position map [3, SIDE, SIDE], v = 1 in the top row."""
        v, u = np.meshgrid(np.linspace(1, 0, SIDE), np.linspace(0, 1, SIDE), indexing="ij")
        column, row = u * (COLUMNS - 1), v * (ROWS - 1)
        i, j = np.minimum(column.astype(int), COLUMNS - 2), np.minimum(row.astype(int), ROWS - 2)
        right, up = (column - i)[..., None], (row - j)[..., None]
        a, b, c, d = self.grid[j, i], self.grid[j, i + 1], self.grid[j + 1, i], self.grid[j + 1, i + 1]
        lower, upper = a + right * (b - a) + up * (c - a), d + (1 - right) * (c - d) + (1 - up) * (b - d)
        return np.where(right + up <= 1, lower, upper).transpose(2, 0, 1)

    @cached_property
    def texture(self) -> np.ndarray:
        """[3, TEXTURE, TEXTURE] in 0..255, v = 1 in the top row."""
        centres = (np.arange(TEXTURE) + 0.5) / TEXTURE
        u, v = np.meshgrid(centres, 1 - centres)
        return (albedo(u, v, self.number) * 255).astype(np.uint8).transpose(2, 0, 1)

    @cached_property
    def pose(self) -> tuple[np.ndarray, np.ndarray]:
        """Rotation [3, 3] and translation [3] to the world."""
        c, s = np.cos(np.deg2rad(4 * self.number - 3)), np.sin(np.deg2rad(4 * self.number - 3))
        return np.array([[c, 0, s], [0, 1, 0], [-s, 0, c]]), np.array([1.5 * self.number, 2.0, -3.0 * self.number])

    def look(self, pixels: np.ndarray, size: tuple[int, int], position: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """What pictures of another size, linearly resized, hold at pixels [N, 2]: colour [N, 3] in [0, 1], and depth
        [N] mm, mixed with zeros at silhouettes. position: [3] of a camera that looks along z."""
        at = (pixels + 0.5) * np.array(PHOTO) / size - 0.5
        first = np.floor(at).astype(int)
        share = at - first
        colour, depth = np.zeros((len(pixels), 3)), np.zeros(len(pixels))
        for dx in (0, 1):
            for dy in (0, 1):
                tap = np.clip(first + np.array((dx, dy)), 0, np.array(PHOTO) - 1)
                weight = np.abs(1 - dx - share[:, 0]) * np.abs(1 - dy - share[:, 1])
                seen, far = self._photo(tap, position)
                colour += weight[:, None] * seen
                depth += weight * far
        return colour, depth

    def _photo(self, pixels: np.ndarray, position: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Of the pictures on disk: eight-bit colours, and depth."""
        rotation, translation = self.pose
        vertices = self.grid.reshape(-1, 3) @ rotation.T + translation - position
        corner = (np.arange(ROWS - 1)[:, None] * COLUMNS + np.arange(COLUMNS - 1)).ravel()
        lower = np.stack([corner, corner + 1, corner + COLUMNS], 1)
        upper = np.stack([corner + 1, corner + COLUMNS + 1, corner + COLUMNS], 1)
        faces = np.concatenate([lower, upper])
        places = vertices[:, :2] / vertices[:, 2:] * FOCAL + (PHOTO[0] / 2 + 3.0, PHOTO[1] / 2 - 2.0)
        uv = np.stack(np.meshgrid(np.linspace(0, 1, COLUMNS), np.linspace(0, 1, ROWS)), -1).reshape(-1, 2)
        colour, depth = np.zeros((len(pixels), 3)), np.full(len(pixels), np.inf)
        for face in faces:
            a, b, c = places[face]
            area = _cross(b - a, c - a)
            near = (np.abs(pixels + 0.5 - (a + b + c) / 3) <= np.abs(places[face] - (a + b + c) / 3).max(0)).all(1)
            index = np.flatnonzero(near) if area else np.zeros(0, int)
            p = pixels[index] + 0.5
            flat = np.stack([_cross(b - p, c - p), _cross(c - p, a - p), _cross(a - p, b - p)], 1) / area if area else p
            index, flat = index[(flat >= 0).all(1)], flat[(flat >= 0).all(1)]
            over_z = flat[:, :3] / vertices[face, 2] if len(index) else np.zeros((0, 3))
            z = 1 / over_z.sum(1)
            front = z < depth[index]
            index, z, over_z = index[front], z[front], over_z[front]
            u, v = (over_z * z[:, None] @ uv[face]).T
            normal = np.cross(*(vertices[face[1:]] - vertices[face[0]]))
            shade = 0.35 + 0.65 * np.abs(normal[2]) / np.linalg.norm(normal)
            depth[index] = z
            colour[index] = (albedo(u, v, self.number) * shade * 255).astype(np.uint8) / 255
        return colour, np.where(np.isfinite(depth), depth, 0.0)


def _cross(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return a[..., 0] * b[..., 1] - a[..., 1] * b[..., 0]
