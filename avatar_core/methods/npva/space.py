"""From a head's own frame (y up, facing +z, metres) to the frame of its points (y down, facing -z, millimetres)."""

from __future__ import annotations

import numpy as np
import torch

from ...camera import Camera
from ...controls import ControlError
from .view import View

_AXES = np.array([1.0, -1.0, -1.0])
_MILLIMETRES = 1000.0


def to_head(points: np.ndarray) -> np.ndarray:
    """[N, 3] metres of points [N, 3] mm."""
    return points * (_AXES / _MILLIMETRES)


def placed_view(camera: Camera, head: np.ndarray, device: torch.device) -> tuple[View, float]:
    """What the camera sees of a head that `head` [4, 4] places in the world, and metres a unit of its depth. Raises
    ControlError for a head that is not turned, moved and scaled alike along all axes."""
    to_camera = camera.world_to_camera @ head
    size = np.cbrt(np.linalg.det(to_camera[:3, :3]))
    turn = to_camera[:3, :3] / size if size > 1e-9 else np.zeros((3, 3))
    if np.abs(turn @ turn.T - np.eye(3)).max() > 1e-3:
        raise ControlError("control 'head' must turn, move and scale the head alike along all axes")
    tensors = (camera.K, turn * _AXES, to_camera[:3, 3] * _MILLIMETRES / size)
    K, rotation, translation = (torch.as_tensor(value, dtype=torch.float32, device=device) for value in tensors)
    return View(K, rotation, translation, camera.height, camera.width), float(size / _MILLIMETRES)
