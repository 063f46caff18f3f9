"""Normals of a mesh's vertices."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import normalize


def vertex_normals(vertices: Tensor, faces: Tensor) -> Tensor:
    """Angle-weighted unit normals [V, 3] of a mesh (Baerentzen and Aanaes 2005), in double precision inside: in single
    the last bit depends on how PyTorch shares the faces over threads."""
    corners = vertices.double()[faces]  # [F, 3, 3]
    face = torch.linalg.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    face = normalize(face, dim=1)
    total = torch.zeros_like(vertices, dtype=torch.float64)
    for corner in range(3):
        one = normalize(corners[:, (corner + 1) % 3] - corners[:, corner], dim=1)
        two = normalize(corners[:, (corner + 2) % 3] - corners[:, corner], dim=1)
        angle = torch.acos((one * two).sum(1).clamp(-1, 1))
        total.index_add_(0, faces[:, corner], face * angle[:, None])
    return normalize(total, dim=1).to(vertices)
