"""Pinhole cameras with lens distortion.

One convention everywhere in the package: OpenCV axes (x right, y down, z forward), metres, a world-to-camera
matrix, intrinsics in pixels with the centre of the top left pixel at (0.5, 0.5).
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from .errors import AvatarError

MAX_SIDE = 16384  # pixels; larger pictures are rendered in regions
_UNDISTORT_STEPS = 8


class CameraError(AvatarError):
    """A camera that cannot be used."""


@dataclass(frozen=True)
class Camera:
    """A camera that sees `width` x `height` pixels.

    K: [3, 3] float64, pixels. world_to_camera: [4, 4] float64, rigid, metres. distortion: [0], [4] or [5] float64,
    OpenCV's k1, k2, p1, p2, k3.
    """

    width: int
    height: int
    K: np.ndarray
    world_to_camera: np.ndarray
    distortion: np.ndarray = field(default_factory=lambda: np.zeros(0))

    def __post_init__(self) -> None:
        for name, shape in (("K", (3, 3)), ("world_to_camera", (4, 4))):
            value = np.asarray(getattr(self, name), np.float64)
            if value.shape != shape or not np.isfinite(value).all():
                raise CameraError(f"camera {name} must be {shape} finite numbers, got shape {value.shape}")
            object.__setattr__(self, name, value)
        object.__setattr__(self, "distortion", np.asarray(self.distortion, np.float64).reshape(-1))
        if self.distortion.size not in (0, 4, 5) or not np.isfinite(self.distortion).all():
            raise CameraError(f"camera distortion must have 0, 4 or 5 finite numbers, got {self.distortion.size}")
        if not (0 < self.width <= MAX_SIDE and 0 < self.height <= MAX_SIDE):
            raise CameraError(f"camera size must be 1 to {MAX_SIDE} pixels a side, got {self.width}x{self.height}")
        if self.K[0, 0] <= 0 or self.K[1, 1] <= 0:
            raise CameraError("camera focal lengths K[0][0] and K[1][1] must be positive")
        rotation = self.world_to_camera[:3, :3]
        if np.abs(rotation @ rotation.T - np.eye(3)).max() > 1e-4 or np.linalg.det(rotation) < 0:
            raise CameraError("camera world_to_camera must hold a rotation (orthonormal, determinant +1)")
        if np.abs(self.world_to_camera[3] - [0, 0, 0, 1]).max() > 1e-9:
            raise CameraError("camera world_to_camera must end with the row 0 0 0 1")

    @classmethod
    def look_at(
        cls,
        position: np.ndarray,
        target: np.ndarray,
        fov_y: float,
        width: int,
        height: int,
        up: tuple[float, float, float] = (0.0, 1.0, 0.0),
    ) -> Camera:
        """A camera at `position` [3] that looks at `target` [3]; `fov_y` in radians."""
        position, target = np.asarray(position, np.float64), np.asarray(target, np.float64)
        forward = target - position
        forward = forward / np.linalg.norm(forward)
        right = np.cross(forward, np.asarray(up, np.float64))
        right = right / np.linalg.norm(right)
        rotation = np.stack([right, np.cross(forward, right), forward])
        view = np.eye(4)
        view[:3, :3], view[:3, 3] = rotation, -rotation @ position
        focal = 0.5 * height / np.tan(0.5 * fov_y)
        intrinsics = np.array([[focal, 0, width / 2], [0, focal, height / 2], [0, 0, 1.0]])
        return cls(width, height, intrinsics, view)

    @property
    def position(self) -> np.ndarray:
        """[3] metres, world."""
        return -self.world_to_camera[:3, :3].T @ self.world_to_camera[:3, 3]

    @property
    def forward(self) -> np.ndarray:
        """[3] unit vector, world: the direction along which planar depth is measured."""
        return self.world_to_camera[2, :3]

    def crop(self, x: int, y: int, width: int, height: int) -> Camera:
        """The camera that sees the region with its top left pixel at column x, row y."""
        intrinsics = self.K.copy()
        intrinsics[0, 2] -= x
        intrinsics[1, 2] -= y
        return replace(self, width=width, height=height, K=intrinsics)

    def scaled(self, factor: float) -> Camera:
        """The same view in `factor` times as many pixels a side (rounded to whole pixels)."""
        width, height = max(1, round(self.width * factor)), max(1, round(self.height * factor))
        intrinsics = np.diag([width / self.width, height / self.height, 1.0]) @ self.K
        return replace(self, width=width, height=height, K=intrinsics)

    def rays(self, pixels: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray]:
        """Rays through pixel centres, or through `pixels` [N, 2] (x, y in pixels).

        Returns origins [N, 3] metres and directions [N, 3] of unit length, both float32, world; rows of the picture
        one after the other, top row first.
        """
        if pixels is None:
            rows, columns = np.mgrid[0 : self.height, 0 : self.width]
            pixels = np.stack([columns.ravel() + 0.5, rows.ravel() + 0.5], -1)
        points = self._undistort((np.asarray(pixels, np.float64) - self.K[:2, 2]) @ self._inverse_focal().T)
        local = np.concatenate([points, np.ones((len(points), 1))], 1)
        directions = local @ self.world_to_camera[:3, :3]
        directions /= np.linalg.norm(directions, axis=1, keepdims=True)
        origins = np.broadcast_to(self.position.astype(np.float32), directions.shape)
        return np.ascontiguousarray(origins), directions.astype(np.float32)

    def project(self, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """World points [N, 3] to pixels [N, 2] (x, y) and planar depth [N] metres (not positive: behind)."""
        local = np.asarray(points, np.float64) @ self.world_to_camera[:3, :3].T + self.world_to_camera[:3, 3]
        depth = local[:, 2]
        safe = np.where(np.abs(depth) < 1e-9, 1e-9, depth)
        return self._distort(local[:, :2] / safe[:, None]) @ self.K[:2, :2].T + self.K[:2, 2], depth

    def to_dict(self) -> dict[str, Any]:
        """JSON-able: width, height, K (9 numbers, rows), world_to_camera (16 numbers, rows), distortion."""
        return {
            "width": self.width,
            "height": self.height,
            "K": self.K.ravel().tolist(),
            "world_to_camera": self.world_to_camera.ravel().tolist(),
            "distortion": self.distortion.tolist(),
        }

    @classmethod
    def from_dict(cls, data: Any) -> Camera:
        """The inverse of `to_dict`; raises CameraError for anything else."""
        try:
            size = data["width"], data["height"]
            if not all(type(side) is int for side in size):
                raise TypeError("width and height must be whole numbers")
            intrinsics = np.array(data["K"], np.float64).reshape(3, 3)
            view = np.array(data["world_to_camera"], np.float64).reshape(4, 4)
            distortion = np.array(data.get("distortion") or [], np.float64).reshape(-1)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise CameraError(f"a camera needs width, height, 9 numbers K and 16 world_to_camera ({error})") from error
        return cls(*size, intrinsics, view, distortion)

    def _inverse_focal(self) -> np.ndarray:
        return np.linalg.inv(self.K[:2, :2])

    def _distort(self, points: np.ndarray) -> np.ndarray:
        if not self.distortion.any():
            return points
        k1, k2, p1, p2, k3 = np.pad(self.distortion, (0, 5 - self.distortion.size))
        x, y = points.T
        r2 = x * x + y * y
        radial = 1 + r2 * (k1 + r2 * (k2 + r2 * k3))
        return np.stack(
            [
                x * radial + 2 * p1 * x * y + p2 * (r2 + 2 * x * x),
                y * radial + p1 * (r2 + 2 * y * y) + 2 * p2 * x * y,
            ],
            -1,
        )

    def _undistort(self, points: np.ndarray) -> np.ndarray:
        if not self.distortion.any():
            return points
        guess = points.copy()
        for _ in range(_UNDISTORT_STEPS):  # fixed point iteration: x = distorted - (distort(x) - x)
            guess = points - (self._distort(guess) - guess)
        return guess
