"""How far from the surface there is anything: learnt per vertex, so that rays skip the rest."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from ...render.normals import vertex_normals
from .config import Config
from .field import Field
from .pose import BodyTensors

_HEIGHTS = 26
_THRESHOLD = 3.0  # 1/m; 3 % of the light is lost over a centimetre
_MARGIN = 0.005  # metres
_RINGS = 2


@torch.no_grad()
def occupied_shell(field: Field, body: BodyTensors, rotations: Sequence[Tensor], config: Config) -> Tensor:
    """The range of heights [V, 2] (metres along the normal) in which the field is not empty in any of the poses,
    given by joint rotations [J, 3, 3]; widened over two rings of neighbours and by a margin."""
    normals = vertex_normals(body.vertices, body.faces)
    heights = torch.linspace(-config.reach_in, config.reach_out, _HEIGHTS, device=body.vertices.device)
    points = body.vertices[:, None] + heights[:, None] * normals[:, None]
    flat = heights.expand(len(points), -1).reshape(-1)
    occupied = points.new_zeros(len(points), _HEIGHTS, dtype=torch.bool)
    for rotation in rotations:
        code = field.surface_code(rotation).repeat_interleave(_HEIGHTS, 0)
        density = field.density(points.reshape(-1, 3), flat, code)[0]
        occupied |= density.view(-1, _HEIGHTS) > _THRESHOLD
    low = torch.where(occupied, heights, 0.0).amin(1)
    high = torch.where(occupied, heights, 0.0).amax(1)
    for _ in range(_RINGS):
        low, high = -_ring_max(-low, body.faces), _ring_max(high, body.faces)
    low = (low - _MARGIN).clamp(min=-config.reach_in)
    return torch.stack([low, (high + _MARGIN).clamp(max=config.reach_out)], 1)


def _ring_max(values: Tensor, faces: Tensor) -> Tensor:
    """The largest value [V] among a vertex and its neighbours."""
    largest = values[faces].amax(1)
    result = values.clone()
    for corner in range(3):
        result.scatter_reduce_(0, faces[:, corner], largest, "amax")
    return result
