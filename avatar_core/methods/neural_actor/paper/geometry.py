"""From points near a posed body to its surface and its canonical pose (Neural Actor, section 3.1 and eq. 3-5).

Every function takes float32 or float64. Points lie in the frame's own space, where the global turn is taken away:
x_world = x rotation + translation.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from functools import cached_property

import torch
from torch import Tensor

from ....cuda.closest_point import TriangleBVH, closest_of
from ....cuda.signed_distance import PseudoNormals

_EDGE = 1e-5  # barycentric below which a point may lie on an edge
_NOISE = 256  # rounding errors by which the distances of tied faces differ
_TIES = 1 << 14  # points at a time
_BIAS = 1e-8  # added to a denominator and a length by the released closest-point kernel


@dataclass(frozen=True)
class SurfacePoints:
    """Where N points lie relative to the body.

    face: [N] int64. bary: [N, 3]. distance2: [N] m^2. closest: [N, 3] on the posed surface. local: [N, 3]: 2u - 1,
    2v - 1 and the signed distance h in metres. weights: [N, J] skinning weights. canonical: [N, 3] metres.
    """

    face: Tensor
    bary: Tensor
    distance2: Tensor
    closest: Tensor
    local: Tensor
    weights: Tensor
    canonical: Tensor

    def at(self, index: Tensor) -> SurfacePoints:
        """Some of the points."""
        return SurfacePoints(*(getattr(self, field.name)[index] for field in fields(self)))

    @property
    def uv(self) -> Tensor:
        """[N, 2] in [0, 1], v up."""
        return (self.local[:, :2] + 1) / 2


@dataclass(frozen=True)
class PosedMesh:
    """The body in one frame.

    vertices: [V, 3] posed. faces: [F, 3] int64. face_uv: [F, 3, 2]. weights: [V, J]. transforms: [J, 4, 4] rest to
    posed. rest: [J, 4, 4] to the second rest pose (identities for none). offsets: [V, 3] metres, from this body's shape
    back to the one that the field was trained with, added in the first rest pose; None for none. pseudo_normals: the
    side of the surface comes from its pseudo-normals, which are right at edges and corners, instead of from the closest
    face's normal as published.
    """

    vertices: Tensor
    faces: Tensor
    face_uv: Tensor
    weights: Tensor
    transforms: Tensor
    rest: Tensor
    bvh: TriangleBVH
    offsets: Tensor | None = None
    pseudo_normals: bool = False

    @classmethod
    def pose(
        cls,
        vertices: Tensor,
        faces: Tensor,
        face_uv: Tensor,
        weights: Tensor,
        transforms: Tensor,
        rest: Tensor | None = None,
        offsets: Tensor | None = None,
        pseudo_normals: bool = False,
    ) -> PosedMesh:
        """Linear blend skinning of the rest vertices [V, 3], without pose offsets: x = (sum_j w_j A_j) [v; 1]."""
        posed = _transform(_blend(weights, transforms), vertices)
        if rest is None:
            rest = torch.eye(4).to(transforms).expand_as(transforms)
        bvh = TriangleBVH(posed.detach().float().cpu(), faces.cpu())  # its tree is built there
        return cls(posed, faces, face_uv, weights, transforms, rest, bvh, offsets, pseudo_normals)

    def locate(self, points: Tensor, published: bool = False) -> SurfacePoints:
        """points: [N, 3] in the frame's space. published: with the tiny bias of the released kernel's barycentrics."""
        face, distance2, bary = self._closest(points.double())
        corners = self.vertices[self.faces[face]]  # [N, 3, 3]
        if published:
            bary = _biased(points.double(), corners.double(), bary)
        distance2, bary = distance2.to(points), bary.to(points)
        closest = _mix(bary, corners)
        if self.pseudo_normals:
            normal = self._normals.at(face, bary)
        else:
            normal = torch.linalg.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 1])
        height = torch.sign(((points - closest) * normal).sum(1)) * distance2.sqrt()
        uv = _mix(bary, self.face_uv[face])
        weights = _mix(bary, self.weights[self.faces[face]])
        local = torch.cat([2 * uv - 1, height[:, None]], 1)
        canonical = _transform(torch.linalg.inv(_blend(weights, self.transforms)), points)
        if self.offsets is not None:
            canonical = canonical + _mix(bary, self.offsets[self.faces[face]])
        canonical = _transform(_blend(weights, self.rest), canonical)
        return SurfacePoints(face, bary, distance2, closest, local, weights, canonical)

    def _closest(self, points: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """face [N], distance2 [N] and bary [N, 3]. Where the closest point lies on an edge or a corner, several faces
        share it; the first of them is taken, as by a search through all faces in order. All is float64, because slivers
        have no barycentrics in single precision."""
        vertices = self.vertices.double()
        _, face, _ = self.bvh.closest(points.detach().float())
        distance2, _, bary = closest_of(points[:, None], vertices[self.faces[face]][:, None])
        for part in torch.nonzero(bary.amin(1) < _EDGE).squeeze(1).split(_TIES):
            corner = self.faces[face[part]].gather(1, bary[part].argmax(1, keepdim=True)).squeeze(1)
            around = self.incident[corner]  # [P, K], the last one repeated
            each = points[part].repeat_interleave(around.shape[1], 0)[:, None]
            far2, _, where = closest_of(each, vertices[self.faces[around]].flatten(0, 1)[:, None])
            far2, where = far2.view_as(around), where.view(*around.shape, 3)
            tied = far2 <= far2.amin(1, keepdim=True) * (1 + _NOISE * torch.finfo(far2.dtype).eps)
            first = torch.where(tied, around, len(self.faces)).argmin(1)
            row = torch.arange(len(part), device=part.device)
            face[part], distance2[part], bary[part] = around[row, first], far2[row, first], where[row, first]
        return face, distance2, bary

    @cached_property
    def _normals(self) -> PseudoNormals:
        return PseudoNormals(self.vertices, self.faces)

    @cached_property
    def incident(self) -> Tensor:
        """The faces around each vertex [V, K], in order, the last one repeated; vertices of no face get face 0."""
        corner, place_of = self.faces.reshape(-1).sort(stable=True)
        counts = torch.bincount(corner, minlength=len(self.vertices))
        place = torch.arange(int(counts.amax()), device=counts.device)[None].minimum((counts - 1).clamp(min=0)[:, None])
        starts = (counts.cumsum(0) - counts)[:, None]
        return (place_of // 3)[(starts + place).clamp(max=len(place_of) - 1)]


def to_frame(points: Tensor, rotation: Tensor, translation: Tensor) -> Tensor:
    """World points [N, 3] in the frame's space."""
    return (points - translation) @ rotation.T


def to_world(points: Tensor, rotation: Tensor, translation: Tensor) -> Tensor:
    """Inverse of `to_frame`."""
    return points @ rotation + translation


def _blend(weights: Tensor, transforms: Tensor) -> Tensor:
    """[N, J] and [J, 4, 4] to [N, 4, 4]."""
    return (weights @ transforms.flatten(1)).unflatten(1, (4, 4))


def _transform(matrices: Tensor, points: Tensor) -> Tensor:
    """[N, 4, 4] and [N, 3] to [N, 3]."""
    return (matrices[:, :3, :3] @ points[..., None]).squeeze(-1) + matrices[:, :3, 3]


def _mix(bary: Tensor, corners: Tensor) -> Tensor:
    """[N, 3] and [N, 3, C] to [N, C]."""
    return (bary[..., None] * corners).sum(1)


def _biased(points: Tensor, corners: Tensor, bary: Tensor) -> Tensor:
    """The released kernel's barycentrics of points above the inside of a triangle: 1e-8 stands in two denominators,
    which moves them by up to 2e-5 m on triangles of a centimetre."""
    a = corners[:, 0]
    e, f = corners[:, 1] - a, corners[:, 2] - a
    normal = torch.linalg.cross(f, e)
    normal = normal / (normal.norm(dim=1, keepdim=True) + _BIAS)
    q = points + ((a - points) * normal).sum(1, keepdim=True) * normal - a
    ee, ef, ff, qe, qf = ((x * y).sum(1) for x, y in ((e, e), (e, f), (f, f), (q, e), (q, f)))
    largest = torch.stack([ee, ff, qe, qf]).amax(0)
    scale = ee / largest * ff - ef / largest * ef + _BIAS
    v = (ff / largest * qe - ef / largest * qf) / scale
    w = (ee / largest * qf - ef / largest * qe) / scale
    inside = (bary > 0).all(1, keepdim=True)
    return torch.where(inside, torch.stack([1 - v - w, v, w], 1), bary)
