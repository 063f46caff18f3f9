"""From a head's own frame (y up, facing +z, metres) to the frame of its field, and back.

The published loader cycles the axes and shrinks the world: field (x, y, z) = 0.33 * head (y, z, x).
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

CYCLE = (1, 2, 0)  # the head's axis on each of the field's


def field_pose(camera_to_head: np.ndarray, scale: float) -> np.ndarray:
    """[4, 4] from camera axes x right, y down, z forward to the field, of a pose with OpenGL's axes in the head."""
    pose = np.eye(4)
    pose[:3, :3] = np.asarray(camera_to_head, np.float64)[list(CYCLE), :3] * (1, -1, -1)
    pose[:3, 3] = scale * np.asarray(camera_to_head)[list(CYCLE), 3]
    return pose


def to_field(vectors: Tensor, scale: float = 1.0) -> Tensor:
    """Points [N, 3] of the head, or directions with scale 1, in the field's frame."""
    return vectors[:, CYCLE] * scale


def to_head(vectors: Tensor, scale: float = 1.0) -> Tensor:
    """The inverse of `to_field`."""
    return torch.stack([vectors[:, CYCLE.index(axis)] for axis in range(3)], 1) / scale
