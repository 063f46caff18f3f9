"""Voxels that a head fills in some expression that the training sees: what all masks leave, and of that what shows.

Voxels inside of the head are as empty as those around it: no ray reaches them.
"""

from __future__ import annotations

import numpy as np
import torch
from scipy.ndimage import distance_transform_edt
from torch import Tensor
from torch.nn.functional import max_pool3d

from ....data.head_capture import HeadCapture
from ..head import PlacedHead
from ..space import to_head

_VIEWS = 40  # masks that are looked at, at most
_SHARE = 0.9  # of the masks that must agree: hair moves, and tracking errs
_SHOWN = 3e-3


def centres(side: int, bound: float) -> Tensor:
    """[side^3, 3] of the cube's voxels, x slowest, field units."""
    axis = (torch.arange(side) + 0.5) / side * 2 - 1
    return torch.cartesian_prod(axis, axis, axis) * bound


def carved(capture: HeadCapture, frames: np.ndarray, side: int, bound: float, scale: float) -> Tensor:
    """[side, side, side] bool: voxels that nearly all masks of `frames` cover, a voxel more around each."""
    points = to_head(centres(side, bound), scale).numpy().astype(np.float64)
    radius = 2 * bound / scale / side
    camera = capture.cameras[0].camera
    inside, looks = np.zeros(len(points)), np.zeros(len(points))
    for frame in frames[np.unique(np.linspace(0, len(frames) - 1, _VIEWS).astype(int))]:
        head = capture.frames[frame].controls.head
        assert head is not None
        pixels, depth = camera.project(PlacedHead(head).points(points))
        column, row = np.floor(pixels).astype(np.int64).T
        seen = (depth > 0) & (column >= 0) & (column < camera.width) & (row >= 0) & (row < camera.height)
        mask = capture.image(0, int(frame))[..., 3] > 0
        away = distance_transform_edt(~mask) if mask.any() else np.full(mask.shape, np.inf)  # pixels to the mask
        reach = camera.K[0, 0] * radius / depth[seen] + 1
        inside[seen] += away[row[seen], column[seen]] <= reach
        looks[seen] += 1
    return torch.as_tensor((inside >= _SHARE * looks) & (looks > 0)).view(side, side, side)


def occupied(weight: Tensor, hull: Tensor) -> Tensor:
    """[V, V, V] bool: where a picture showed something, or in a neighbour, inside of `hull`. weight: [V, V, V], the
    largest share of a pixel that a sample in the voxel made up of late."""
    full = (weight > _SHOWN).float()
    return (max_pool3d(full[None, None], 3, stride=1, padding=1)[0, 0] > 0) & hull
