"""Where a scan's points and pixels lie on the person whom the coarse stage has learnt: found once, in place of hours of
ray tracing. Points by the search; pixels by rasterising the person's mesh in the scan's pose."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from ...camera import Camera
from ...cuda.raster import homogeneous_pixels, interpolate, rasterise
from ...cuda.skin import blend
from .body import apply
from .extraction import Box
from .field import Networks, Person, extent
from .lessons import Lessons, Registered
from .posing import PersonMesh, bake, volume
from .query import at_roots
from .search import search_voxels

_CELL = 0.012  # metres, of the mesh that is rasterised
_MARGIN = 0.15  # metres around the body where there may be clothes
_KEPT = 16384  # points of a scan
_STEPS = 10  # of the search


@dataclass(frozen=True, eq=False)
class OnPerson:
    """neutral: x' [N, 3]. transforms: [N, 4, 4] of forward skinning there. chosen: [N], which of what was asked for."""

    neutral: Tensor
    transforms: Tensor
    chosen: Tensor


@dataclass(frozen=True, eq=False)
class ScanOnPerson:
    """person: frozen. neutral, transforms, features: of points of the scan's surface on the person, as of OnPerson and
    [N, 229]. normals: [N, 3] of the scan there. colours: [N, 3] likewise, None where it has no textures."""

    person: Person
    body: Registered
    box: Box
    neutral: Tensor
    transforms: Tensor
    features: Tensor
    normals: Tensor
    colours: Tensor | None

    @classmethod
    @torch.no_grad()
    def of(cls, networks: Networks, code: Tensor, lessons: Lessons, frame: int) -> ScanOnPerson:
        """code: of shape, [64]. A frame has the same points whenever it is asked."""
        body = lessons.registered(frame)
        samples = lessons.capture.samples(frame)
        same = torch.Generator().manual_seed(frame)  # also where a run is interrupted
        some = torch.randperm(len(samples.surface), generator=same)[:_KEPT]
        person = networks.person(code, body.betas)
        at = on_surface(person, lessons.tensor(samples.surface)[some], body)
        chosen = some.to(at.chosen)[at.chosen]
        box = Box.around(lessons.neutral.cpu().numpy(), _MARGIN, extent(), _CELL)
        features, normals = person.occupancy(at.neutral)[1], lessons.tensor(samples.normals)[chosen]
        colours = None if samples.colours is None else lessons.tensor(samples.colours)[chosen]
        return cls(person, body, box, at.neutral, at.transforms, features, normals, colours)

    def seen(self, camera: Camera) -> OnPerson:
        """Raises AvatarError where the person has no surface."""
        return seen(*self._mesh, camera)

    @cached_property
    def _mesh(self) -> tuple[Tensor, Tensor, Tensor]:
        """What `seen` reads. Pictures alone need it, and it takes far longer than the points."""
        with torch.no_grad():
            mesh = PersonMesh.of(self.person, self.box)
            posed, attributes = on_mesh(mesh, self.person, self.body.bones)
        return posed, mesh.faces, attributes


def on_mesh(mesh: PersonMesh, person: Person, bones: Tensor) -> tuple[Tensor, Tensor]:
    """Posed vertices [V, 3], and for `seen` what they know [V, 19]."""
    transforms = blend(mesh.weights, bones)
    return apply(transforms, mesh.shaped(person)), torch.cat([mesh.neutral, transforms.flatten(1)], 1)


def seen(posed: Tensor, faces: Tensor, attributes: Tensor, camera: Camera) -> OnPerson:
    """What pixels show; chosen: their numbers, row by row. posed: vertices [V, 3] of the person's mesh; faces: [F, 3];
    attributes: [V, 19] of each vertex, x' and transform."""
    found = rasterise(homogeneous_pixels(posed, camera), faces, camera.height, camera.width)
    pixels = (found.face >= 0).flatten().nonzero()[:, 0]
    planes = interpolate(attributes, faces, found.face, found.bary).flatten(0, 1)[pixels]
    return OnPerson(planes[:, :3], planes[:, 3:].view(-1, 4, 4), pixels)


@torch.no_grad()
def on_surface(person: Person, points: Tensor, body: Registered) -> OnPerson:
    """Points [N, 3] that have a root; of several, the most occupied."""
    grid = volume(bake(person, body.canonical), body.bones, body.canonical)
    roots = search_voxels(points, person.weights, body.bones, grid, _STEPS)
    at = at_roots(person, roots.points[roots.distinct], roots.distinct)
    chosen = at.found.nonzero()[:, 0]
    neutral = at.neutral[chosen]
    return OnPerson(neutral, blend(person.weights(neutral), body.bones), chosen)
