"""Which points are inside of a closed mesh, even where it crosses itself, as scans do under arms."""

from __future__ import annotations

import torch
from torch import Tensor

from avatar_core.cuda.closest_point import TriangleBVH
from avatar_core.cuda.ray_cast import cast_rays

_DIRECTIONS = ((0.31, 0.87, 0.38), (-0.74, 0.21, 0.64), (0.55, -0.47, -0.69))  # no axis: scans are full of flat faces
_MOST = 64  # crossings of a ray
_STEP = 1e-5  # metres past a crossing


def inside(tree: TriangleBVH, points: Tensor) -> Tensor:
    """[N] bool: the winding number is positive. points: [N, 3] float32. A ray counts the faces that it leaves through,
    less those that it enters by; two rays of three decide, as one may graze an edge."""
    corners = tree.vertices[tree.faces.long()]
    normals = torch.linalg.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    votes = sum(_winding(tree, normals, points, torch.tensor(direction)) > 0 for direction in _DIRECTIONS)
    return torch.as_tensor(votes > 1)


def _winding(tree: TriangleBVH, normals: Tensor, points: Tensor, direction: Tensor) -> Tensor:
    """[N] along rays in one direction."""
    total, left = torch.zeros(len(points), dtype=torch.long), torch.arange(len(points))
    origins = points
    for _ in range(_MOST):
        hits = cast_rays(tree, origins, direction.expand(len(origins), 3).contiguous())
        met = hits.face >= 0
        left, face = left[met], hits.face[met]
        if not len(left):
            break
        total[left] += torch.where(normals[face] @ direction > 0, 1, -1)
        origins = origins[met] + (hits.t[met, None] + _STEP) * direction
    return total
