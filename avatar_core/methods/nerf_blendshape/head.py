"""Where the control `head` puts a head, and rays of the world in its own frame."""

from __future__ import annotations

import numpy as np

from ...camera import Camera
from ...controls import ControlError


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
