"""The signed distance to a closed mesh: the closest point, and a side that is right at edges and corners too.

Baerentzen and Aanaes 2005: the sign is that of (p - q) n with q the closest point and n the pseudo-normal of what q
lies on: the face's normal inside of a face, the sum of both faces' on an edge, the sum weighted by angles at a corner.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import normalize

from .closest_point import TriangleBVH

_ON = 1e-6  # barycentric below which the closest point lies on an edge
_NEAR = 1e-7  # metres from the surface within which the direction is the pseudo-normal's


class PseudoNormals:
    """face: [F, 3], edge: [F, 3, 3] (opposite to each corner) and corner: [V, 3] unit normals of a mesh."""

    def __init__(self, vertices: Tensor, faces: Tensor) -> None:
        faces = faces.long()
        corners = vertices[faces]
        self.faces = faces
        self.face = normalize(torch.linalg.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]), dim=1)
        ends = torch.stack([faces.roll(-1, 1), faces.roll(-2, 1)], -1).sort(-1).values.reshape(-1, 2)
        edge, which = torch.unique(ends, dim=0, return_inverse=True)
        shared = vertices.new_zeros(len(edge), 3).index_add(0, which, self.face.repeat_interleave(3, 0))
        self.edge = normalize(shared, dim=1)[which].view(-1, 3, 3)
        total = torch.zeros_like(vertices)
        for k in range(3):
            one = normalize(corners[:, (k + 1) % 3] - corners[:, k], dim=1)
            two = normalize(corners[:, (k + 2) % 3] - corners[:, k], dim=1)
            angle = torch.acos((one * two).sum(1).clamp(-1, 1))
            total.index_add_(0, faces[:, k], self.face * angle[:, None])
        self.corner = normalize(total, dim=1)

    def at(self, face: Tensor, bary: Tensor) -> Tensor:
        """[N, 3] for points on faces [N] with barycentrics [N, 3]."""
        zero = bary < _ON
        count = zero.sum(1)
        edge = self.edge[face, zero.int().argmax(1)]
        corner = self.corner[self.faces[face].gather(1, bary.argmax(1, keepdim=True)).squeeze(1)]
        normal = torch.where((count == 1)[:, None], edge, self.face[face])
        return torch.where((count >= 2)[:, None], corner, normal)


def signed_distance(mesh: TriangleBVH, normals: PseudoNormals, points: Tensor) -> Tensor:
    """[N] metres, negative inside; differentiable with respect to points [N, 3] float32 and the mesh's vertices. A
    point that is not a number is infinitely far. `normals` are those of the mesh as it stands, on the points' device.
    Of an open mesh a point is inside where it lies behind the surface that is closest."""
    with torch.no_grad():
        distance2, face, bary = mesh.closest(points)
    closest = (mesh.vertices.to(points.device)[mesh.faces.to(face.device)[face]] * bary[..., None]).sum(1)
    with torch.no_grad():
        offset = points - closest
        normal = normals.at(face, bary)
        side = torch.where((offset * normal).sum(1) < 0, -1.0, 1.0)
        distance = distance2.clamp(min=0).sqrt()
        direction = torch.where((distance > _NEAR)[:, None], offset / distance[:, None] * side[:, None], normal)
        lost = torch.isinf(distance2)
        direction = direction.masked_fill(lost[:, None], 0)
    value = ((points - closest) * direction).sum(1)
    return value.masked_fill(lost, torch.inf)
