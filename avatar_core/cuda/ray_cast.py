"""The first triangle that a ray meets: in the native tree of closest_point.py, or by all pairs in PyTorch."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from .closest_point import TriangleBVH

_EDGE, _FLAT = 1e-5, 1e-20  # as in ray_cast.h
_PAIRS = 1 << 22  # rays times faces that the reference tests at once


class RayHits(NamedTuple):
    """t: [N], the hit is origin + t direction, infinite where there is none. face: [N] int64, -1 where there is none.
    bary: [N, 3], 0 where there is none."""

    t: Tensor
    face: Tensor
    bary: Tensor


def cast_rays(
    mesh: TriangleBVH, origins: Tensor, directions: Tensor, near: float = 0.0, far: float = torch.inf
) -> RayHits:
    """The first hit of each ray with near <= t < far, on either side of a triangle; of equally near ones the face that
    comes first. Triangles are larger by a hundred-thousandth, so that no ray slips between two that share an edge.

    origins, directions: [N, 3] float32; t counts in lengths of the direction. A ray that is not finite, or has no
    direction, hits nothing. Raises ValueError for other shapes.
    """
    for name, rays in (("origins", origins), ("directions", directions)):
        if rays.dim() != 2 or rays.shape[1] != 3 or rays.dtype != torch.float32:
            raise ValueError(f"{name} must be [N, 3] float32, got {tuple(rays.shape)} {rays.dtype}")
    if len(origins) != len(directions) or origins.device != directions.device:
        raise ValueError(
            f"origins and directions must be as many and on one device, got {len(origins)} on {origins.device} and "
            f"{len(directions)} on {directions.device}"
        )
    origins, directions = origins.detach().contiguous(), directions.detach().contiguous()
    if not mesh.answers(origins):
        return cast_rays_reference(mesh, origins, directions, near, far)
    count = len(origins)
    t, bary = origins.new_empty(count), origins.new_empty(count, 3)
    face = torch.empty(count, dtype=torch.int64, device=origins.device)
    mesh.query("ray_cast", "ray_cast", (origins, directions, near, min(far, 1e30), t, face, bary), count)
    return RayHits(t, face, bary)


def cast_rays_reference(
    mesh: TriangleBVH, origins: Tensor, directions: Tensor, near: float = 0.0, far: float = torch.inf
) -> RayHits:
    """The definition, for any float type: Moeller and Trumbore 1997, every ray with every face."""
    corners = mesh.vertices.to(origins)[mesh.faces.to(origins.device)]
    a, e, f = corners[:, 0], corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]
    parts = []
    for o, d in zip(*(rays.split(max(1, _PAIRS // len(a))) for rays in (origins, directions))):
        o, d = o[:, None], d[:, None]  # [R, 1, 3] against [F, 3]
        p = torch.linalg.cross(d.expand(-1, len(f), -1), f.expand(len(d), -1, -1))
        determinant = (e * p).sum(-1)
        inverse = 1 / torch.where(determinant.abs() > _FLAT, determinant, _FLAT)
        s = o - a
        q = torch.linalg.cross(s, e.expand_as(s))
        u, v, t = (s * p).sum(-1) * inverse, (d * q).sum(-1) * inverse, (f * q).sum(-1) * inverse
        inside = (determinant.abs() > _FLAT) & (u >= -_EDGE) & (v >= -_EDGE) & (u + v <= 1 + _EDGE)
        inside &= (t >= near) & (t < far) & torch.isfinite(d).all(-1) & torch.isfinite(o).all(-1)
        best, face = t.masked_fill(~inside, torch.inf).min(1)
        row = torch.arange(len(face), device=face.device)
        missed = torch.isinf(best)
        bary = torch.stack([1 - u - v, u, v], -1)[row, face].masked_fill(missed[:, None], 0)
        parts.append((best, face.masked_fill(missed, -1), bary))
    if not parts:
        return RayHits(origins.new_empty(0), origins.new_empty(0, dtype=torch.int64), origins.new_empty(0, 3))
    return RayHits(*(torch.cat(column) for column in zip(*parts)))
