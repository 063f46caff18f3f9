"""The body in one pose, ready to be asked which canonical point lies at a point of the world.

Neural Actor, eq. 3-5: the closest point of the posed surface carries skinning weights; the inverse of their blended
transform takes the point to the canonical pose. Here the blended transform itself is interpolated over the triangle,
which is the same (blending is linear in the weights) and cheaper.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property

import torch
from torch import Tensor, nn

from ...body import Body
from ...body.kinematics import axis_angle_to_matrix, relative_transforms
from ...controls import Controls
from ...cuda.body_frame import ShapedBody
from ...cuda.canonical import canonical_points
from ...cuda.closest_point import TriangleBVH
from ...cuda.skin import blend, sparse_weights
from ...render.normals import vertex_normals
from ...render.occupancy import OccupancyGrid


class BodyTensors(nn.Module):
    """The rest body, float32: what posing needs. It moves with the model, and is no part of its state.

    vertices: [V, 3]. faces: [F, 3] int64. weights: [V, J]. parents: J indices, root -1. joints: [J, 3] of the rest
    vertices. joint_shapes: [J, 3, B], how betas move them. shapedirs: [V, 3, B]. expressions: [V, 3, E].
    """

    vertices: Tensor
    faces: Tensor
    weights: Tensor
    joints: Tensor
    joint_shapes: Tensor
    shapedirs: Tensor
    expressions: Tensor

    def __init__(self, body: Body) -> None:
        super().__init__()
        for name in ("vertices", "weights", "shapedirs", "expressions"):
            self.register_buffer(name, torch.tensor(getattr(body, name)), persistent=False)
        self.register_buffer("joints", torch.tensor(body.joints()), persistent=False)
        self.register_buffer("joint_shapes", torch.tensor(body.joint_shapedirs()), persistent=False)
        self.register_buffer("faces", torch.tensor(body.faces).long(), persistent=False)
        self.parents = tuple(int(parent) for parent in body.parents)
        self._shaped: tuple[object, ShapedBody] | None = None

    @cached_property
    def tree(self) -> TriangleBVH:
        """Of the rest body."""
        return TriangleBVH(self.vertices.cpu(), self.faces.cpu())

    def shaped(self, controls: Controls) -> ShapedBody:
        """The body in the controls' shape and expression; kept, since most frames of an animation share it."""
        device = self.vertices.device
        wanted = device, controls.betas.tobytes(), controls.expression.tobytes()
        if self._shaped is None or self._shaped[0] != wanted:
            betas, expression = (torch.as_tensor(v, device=device) for v in (controls.betas, controls.expression))
            rest = self.vertices + self.shapedirs @ betas + self.expressions @ expression
            centres = self.joints + self.joint_shapes @ betas
            body = ShapedBody(rest, centres, self.parents, *sparse_weights(self.weights))
            self._shaped = wanted, body
        return self._shaped[1]


@dataclass(frozen=True)
class PosedBody:
    """One pose. surface: [V, 21] per vertex: blended transform (12, rows), canonical offset (3), normal (3), place (3).

    vertices: [V, 3] world metres. bvh: of the posed triangles. rotations: [J, 3, 3] of the pose.
    """

    vertices: Tensor
    faces: Tensor
    surface: Tensor
    rotations: Tensor
    bvh: TriangleBVH
    grids: dict[int, OccupancyGrid] = field(default_factory=dict)

    def grid(self, shell: Tensor, voxel: float, version: int) -> OccupancyGrid:
        """The voxels around the surface; shell: [V, 2] metres inside and outside. Kept until `version` changes."""
        if version not in self.grids:
            self.grids.clear()
            self.grids[version] = OccupancyGrid.around(self._shell_points(shell, voxel), voxel)
        return self.grids[version]

    def _shell_points(self, shell: Tensor, voxel: float) -> Tensor:
        """Points whose voxels, with the neighbours of these, hold the shell: above and below vertices and, where
        triangles are longer than a voxel, middles of them and of their edges, which do for triangles of six voxels."""
        normals = self.surface[:, 15:18]
        count = max(2, int(torch.ceil((shell[:, 1] - shell[:, 0]).max() / voxel)) + 1)
        share = torch.linspace(0, 1, count, device=shell.device)
        height = shell[:, :1] + share * (shell[:, 1:] - shell[:, :1])  # [V, count]
        points = self.vertices[:, None] + height[..., None] * normals[:, None]
        sides = self.vertices[self.faces]  # [F, 3, 3]
        wide = ((sides - sides.roll(1, 1)).square().sum(2) > voxel**2).any(1)
        corners = points[self.faces[wide]]  # [F, 3, count, 3]
        middles = (corners + corners.roll(1, 1)) / 2
        return torch.cat([part.reshape(-1, 3) for part in (points, middles, corners.mean(1))])


def pose_body(
    body: BodyTensors, controls: Controls, correction: tuple[Tensor, Tensor] | None = None, hasty: bool = False
) -> PosedBody:
    """Linear blend skinning without pose correctives, as in the paper; body shape and expression move the rest
    surface, and are taken back in canonical space. correction: added to pose and transl; differentiable with respect to
    it, but for normals. hasty: for few questions; the rest body's tree is moved along, which answers slower than one of
    the pose but is there at once."""
    offset, rotations, transforms = _controlled(body, controls, correction)
    matrices = blend(body.weights, transforms)[:, :3]  # [V, 3, 4]
    rest = body.vertices + offset
    vertices = (matrices[:, :, :3] @ rest[..., None]).squeeze(-1) + matrices[:, :, 3]
    normals = vertex_normals(vertices.detach(), body.faces)
    surface = torch.cat([matrices.reshape(-1, 12), offset, normals, vertices], 1)
    there = vertices.cpu()  # trees are built there
    bvh = body.tree.moved(there) if hasty else TriangleBVH(there, body.faces.cpu())
    return PosedBody(vertices, body.faces, surface, rotations, bvh)


def pose_vertices(body: BodyTensors, controls: Controls) -> Tensor:
    """Only the vertices [V, 3] of `pose_body`, at an animator's pace."""
    pose, transl = (torch.as_tensor(value, device=body.vertices.device) for value in (controls.pose, controls.transl))
    return body.shaped(controls).posed(pose, transl)


def _controlled(
    body: BodyTensors, controls: Controls, correction: tuple[Tensor, Tensor] | None = None
) -> tuple[Tensor, Tensor, Tensor]:
    """Offsets [V, 3] of the rest surface, rotations [J, 3, 3] and transforms [J, 4, 4] of the joints."""
    device = body.vertices.device
    betas, expression, pose, transl = (
        torch.as_tensor(value, device=device)
        for value in (controls.betas, controls.expression, controls.pose, controls.transl)
    )
    if correction is not None:
        pose, transl = pose + correction[0], transl + correction[1]
    shape = body.shapedirs @ betas
    transforms = relative_transforms(pose, body.joints + body.joint_shapes @ betas, body.parents, transl)
    return shape + body.expressions @ expression, axis_angle_to_matrix(pose), transforms


@dataclass(frozen=True)
class CanonicalPoints:
    """Points of the world taken to the canonical pose.

    points: [N, 3] metres. height: [N] signed distance from the posed surface, metres, positive outside.
    facing: [N] the upward part of the surface normal in the world, -1 to 1. vertices: [N, 3] corners of the closest
    triangle, int64. bary: [N, 3]. surface: [V, 21] of the posed body.
    """

    points: Tensor
    height: Tensor
    facing: Tensor
    vertices: Tensor
    bary: Tensor
    surface: Tensor

    @property
    def matrices(self) -> Tensor:
        """[N, 3, 3] canonical to world, without translation."""
        return self.interpolate(self.surface[:, :12]).view(-1, 3, 4)[:, :, :3]

    def interpolate(self, values: Tensor) -> Tensor:
        """values [V, C] at the closest points: [N, C]; differentiable with respect to `values`."""
        return mix(values, self.vertices, self.bary)


def mix(values: Tensor, vertices: Tensor, bary: Tensor) -> Tensor:
    """values [V, C] at points inside of triangles, given by corners [N, 3] and barycentrics [N, 3]: [N, C]."""
    return torch.nn.functional.embedding_bag(vertices, values, per_sample_weights=bary, mode="sum")


def to_canonical(posed: PosedBody, points: Tensor, reach: float = torch.inf) -> CanonicalPoints:
    """points: [N, 3] world metres. A point farther than `reach` metres from the surface has an infinite height, and
    nothing else of it means anything."""
    distance2, face, bary = posed.bvh.closest(points, reach)
    canonical, height, facing, vertices = canonical_points(points, distance2, face, bary, posed.surface, posed.faces)
    return CanonicalPoints(canonical, height, facing, vertices, bary, posed.surface)
