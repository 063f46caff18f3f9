"""A ring of cameras around a subject, each turned and zoomed so that the subject just fits."""

from __future__ import annotations

import numpy as np

from avatar_core.camera import Camera

_ELEVATION = (-10.0, 32.0)  # degrees
_DISTANCE = (1.55, 1.95)  # in heights of the subject: 2.6 to 3.3 m for a person of 1.7 m
_GOLDEN = 0.6180339887
_FILL = 0.96  # of the picture, by the subject's whole range of motion
_AIM_ROUNDS = 4


def camera_ring(points: np.ndarray, height: float, count: int, resolution: int) -> tuple[list[Camera], np.ndarray]:
    """`count` square cameras around `points` [N, 3] (world, metres), and which are held out, [count] bool.

    height: of the subject, metres; it sets the distance. Elevations and distances vary over the ring.
    """
    middle = (points.max(0) + points.min(0)) / 2
    cameras = []
    for index in range(count):
        azimuth = 2 * np.pi * index / count
        elevation = np.radians(np.interp(index * _GOLDEN % 1, (0, 1), _ELEVATION))
        distance = height * np.interp(index * _GOLDEN**2 % 1, (0, 1), _DISTANCE)
        level = np.cos(elevation)
        direction = np.array((level * np.sin(azimuth), np.sin(elevation), level * np.cos(azimuth)))
        cameras.append(_aimed(middle + distance * direction, middle, points, resolution))
    held_out = np.zeros(count, bool)
    if count > 1:
        tests = max(1, round(count / 5))
        held_out[((np.arange(tests) + 0.5) * count / tests).astype(int)] = True
    return cameras, held_out


def _aimed(position: np.ndarray, target: np.ndarray, points: np.ndarray, resolution: int) -> Camera:
    fov = 1.0
    for _ in range(_AIM_ROUNDS):
        camera = Camera.look_at(position, target, fov, resolution, resolution)
        local = points @ camera.world_to_camera[:3, :3].T + camera.world_to_camera[:3, 3]
        slope = local[:, :2] / local[:, 2:]
        low, high = slope.min(0), slope.max(0)
        centre = np.array((*(low + high) / 2, 1.0)) @ camera.world_to_camera[:3, :3]
        target = position + centre
        fov = 2 * np.arctan((high - low).max() / 2 / _FILL)
    return Camera.look_at(position, target, fov, resolution, resolution)
