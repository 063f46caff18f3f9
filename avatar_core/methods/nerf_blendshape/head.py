"""A head without a skeleton: its stand-in mesh, and rays of the world in its own frame."""

from __future__ import annotations

import numpy as np

from ...body import Body
from ...camera import Camera
from ...controls import ControlError

_RINGS, _SECTORS = 12, 16


def stand_in(name: str, low: np.ndarray, high: np.ndarray, licence: str) -> Body:
    """An ellipsoid that fills the box from `low` to `high` [3] (metres, the head's frame), with one joint."""
    v, u = np.mgrid[0 : _RINGS + 1, 0:_SECTORS].reshape(2, -1)
    up, around = np.pi * v / _RINGS, 2 * np.pi * u / _SECTORS
    unit = np.stack([np.sin(up) * np.cos(around), np.cos(up), np.sin(up) * np.sin(around)], 1)
    vertices = ((low + high) / 2 + unit * (high - low) / 2).astype(np.float32)
    ring, sector = np.mgrid[0:_RINGS, 0:_SECTORS].reshape(2, -1)
    a, b = ring * _SECTORS + sector, ring * _SECTORS + (sector + 1) % _SECTORS
    c, d = a + _SECTORS, b + _SECTORS
    faces = np.concatenate([np.stack([a, b, c], 1), np.stack([b, d, c], 1)])
    return Body(
        name=name,
        vertices=vertices,
        faces=faces,
        uv=np.zeros((0, 2), np.float32),
        face_uv=np.zeros((0, 3), np.int32),
        weights=np.ones((len(vertices), 1), np.float32),
        joint_names=("head",),
        parents=np.array([-1]),
        regressor=np.full((1, len(vertices)), 1 / len(vertices), np.float32),
        licence=licence,
    )


class PlacedHead:
    """The control `head` [4, 4], which may hold a scale. Raises ControlError where it has no inverse."""

    def __init__(self, head: np.ndarray) -> None:
        self.to_world = np.asarray(head, np.float64)
        if np.abs(self.to_world[3] - (0, 0, 0, 1)).max() > 1e-6 or abs(np.linalg.det(self.to_world)) < 1e-12:
            raise ControlError("control 'head' must place the head: its last row 0 0 0 1, and its axes not flat")
        self.to_head = np.linalg.inv(self.to_world)

    def points(self, vertices: np.ndarray) -> np.ndarray:
        """[N, 3] of the head in the world."""
        return vertices @ self.to_world[:3, :3].T + self.to_world[:3, 3]

    def rays(self, camera: Camera, pixels: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Origins and unit directions [R, 3] float32 in the head's frame, and [R] planar depth in the world per unit of
        distance along them."""
        origins, directions = camera.rays(pixels)
        local = directions.astype(np.float64) @ self.to_head[:3, :3].T
        length = np.linalg.norm(local, axis=1)
        start = origins.astype(np.float64) @ self.to_head[:3, :3].T + self.to_head[:3, 3]
        along = (directions @ camera.forward) / length
        return start.astype(np.float32), (local / length[:, None]).astype(np.float32), along.astype(np.float32)

    def normals(self, normals: np.ndarray) -> np.ndarray:
        """Unit vectors [N, 3] in the world of normals of the head."""
        turned = normals @ self.to_head[:3, :3]
        return turned / np.maximum(np.linalg.norm(turned, axis=1, keepdims=True), 1e-12)
