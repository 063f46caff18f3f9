"""Points around a posed body taken to its canonical pose, from their closest points. The peer is our own definition in
PyTorch."""

from __future__ import annotations

from collections.abc import Iterator

import torch

from avatar_core.body import load_body
from avatar_core.body.kinematics import relative_transforms
from avatar_core.cuda.canonical import canonical_points, canonical_points_reference
from avatar_core.cuda.closest_point import TriangleBVH
from avatar_core.cuda.signed_distance import PseudoNormals
from avatar_core.cuda.skin import blend
from benchmarks.timing import Case

_POINTS, _SHELL = 200_000, 0.02  # metres, one standard deviation


def cases() -> Iterator[Case]:
    body = load_body()
    rest, faces, weights, joints = (
        torch.tensor(array) for array in (body.vertices, body.faces, body.weights, body.joints())
    )
    generator = torch.Generator().manual_seed(0)
    pose = 0.2 * torch.randn(len(joints), 3, generator=generator)
    matrices = blend(weights, relative_transforms(pose, joints, body.parents))[:, :3]
    vertices = (matrices[:, :, :3] @ rest[..., None]).squeeze(-1) + matrices[:, :, 3]
    normals = PseudoNormals(vertices, faces).corner
    surface = torch.cat([matrices.flatten(1), torch.zeros_like(rest), normals, vertices], 1)
    points = vertices[torch.randint(0, len(vertices), (_POINTS,), generator=generator)]
    points = points + _SHELL * torch.randn(_POINTS, 3, generator=generator)
    distance2, face, bary = TriangleBVH(vertices, faces).closest(points)
    arguments = points, distance2, face, bary, surface, faces.long()
    yield Case(
        "canonical points",
        f"{_POINTS} points",
        lambda: canonical_points(*arguments),
        {"torch": lambda: canonical_points_reference(*arguments)},
    )
