"""A person's mesh: made once a shape code, free of betas and pose, then bent by both.

The published code extracts the mesh again for every frame. Betas enter through x' = x + displacement(x, betas) alone,
so a mesh of x' serves all of them: x is found by x <- x' - displacement(x, betas), and is skinned with the weights at
x'.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from ...cuda.broyden import SkinningVolume
from ...cuda.skin import blend
from .body import apply
from .extraction import Box, extract
from .field import Person, skin_normals

_CHUNK = 1 << 13
_POLISH = 3  # steps that take vertices to the surface
_ITERATIONS = 8  # of the fixed point; each leaves a fiftieth of the error on trained people
_SIGMA = 0.2  # of the fusion of normals


@dataclass(frozen=True)
class PersonMesh:
    """neutral: x' [V, 3]. faces: [F, 3] int64. weights: [V, 24]. features: [V, 229], for normals."""

    neutral: Tensor
    faces: Tensor
    weights: Tensor
    features: Tensor

    @classmethod
    def of(cls, person: Person, box: Box, check: Callable[[], None] = lambda: None) -> PersonMesh:
        """box: in the space of x'. Raises AvatarError where there is no surface."""
        device = person.shape.device

        def logits(points: Tensor) -> Tensor:
            return person.occupancy(points.to(device))[0].cpu()  # the grid and marching cubes are the CPU's

        vertices, faces = extract(logits, box, check, _POLISH)
        neutral, weights, features = torch.as_tensor(vertices, device=device), [], []
        for part in neutral.split(_CHUNK):
            check()
            weights.append(person.weights(part))
            features.append(person.occupancy(part)[1])
        return cls(neutral, torch.as_tensor(faces, device=device).long(), torch.cat(weights), torch.cat(features))

    def detailed(self, person: Person, detail: Tensor) -> Tensor:
        """Canonical normals [V, 3] of a detail code, not of unit length."""
        parts = zip(self.neutral.split(_CHUNK), self.features.split(_CHUNK))
        return torch.cat([person.normals(points, detail, features) for points, features in parts])

    def coloured(self, person: Person, code: Tensor) -> Tensor:
        """Display sRGB [V, 3] of a colour code."""
        parts = zip(self.neutral.split(_CHUNK), self.features.split(_CHUNK))
        return torch.cat([person.colours(points, code, features) for points, features in parts])

    def shaped(self, person: Person, iterations: int = _ITERATIONS) -> Tensor:
        """x [V, 3] with the person's betas."""
        x = self.neutral
        for _ in range(iterations):
            offsets = torch.cat([person.neutral(part) - part for part in x.split(_CHUNK)])
            x = self.neutral - offsets
        return x

    def posed(self, shaped: Tensor, bones: Tensor, normals: Tensor | None) -> tuple[Tensor, Tensor]:
        """Vertices and unit normals [V, 3]. normals: canonical, of a detail code; None: those of the faces."""
        transforms = blend(self.weights, bones)
        vertices = apply(transforms, shaped)
        geometric = vertex_normals(vertices, self.faces)
        if normals is None:
            return vertices, geometric
        return vertices, fuse(skin_normals(normals, transforms), geometric)


def vertex_normals(vertices: Tensor, faces: Tensor) -> Tensor:
    """Unit normals [V, 3], faces weighted by area."""
    a, b, c = vertices[faces].unbind(1)
    normal = torch.linalg.cross(b - a, c - a)
    total = torch.zeros_like(vertices).index_add_(0, faces.flatten(), normal.repeat_interleave(3, 0))
    return functional.normalize(total, dim=1)


def fuse(learnt: Tensor, geometric: Tensor) -> Tensor:
    """Learnt normals, but the mesh's where both disagree (as published)."""
    agreement = ((learnt * geometric).sum(1, keepdim=True) + 1) / 2
    share = torch.exp(-((agreement - 1) ** 2) / (2 * _SIGMA**2))
    return functional.normalize(share * learnt + (1 - share) * geometric, dim=1)


def bake(person: Person, vertices: Tensor, margin: float = 0.15, shape: tuple[int, int, int] = (16, 64, 64)) -> Tensor:
    """Weights [24, D, H, W] on a grid around canonical vertices [V, 3], for `volume`."""
    low, high = bounds(vertices, margin)
    z, y, x = (torch.linspace(low[2 - i], high[2 - i], side).to(vertices) for i, side in enumerate(shape))
    grid = torch.stack(torch.meshgrid(z, y, x, indexing="ij"), -1).flip(-1).reshape(-1, 3)
    return torch.cat([person.weights(part) for part in grid.split(_CHUNK)]).T.reshape(-1, *shape)


def volume(weights: Tensor, bones: Tensor, vertices: Tensor, margin: float = 0.15) -> SkinningVolume:
    """What `search_voxels` reads: `bake`'s weights with a pose's bones."""
    return SkinningVolume.blend(weights, bones, *bounds(vertices, margin))


def bounds(vertices: Tensor, margin: float) -> tuple[tuple[float, float, float], tuple[float, float, float]]:
    """Lowest and highest corner of vertices [V, 3] with a margin around them, metres."""
    low, high = (vertices.amin(0) - margin).tolist(), (vertices.amax(0) + margin).tolist()
    return (low[0], low[1], low[2]), (high[0], high[1], high[2])
