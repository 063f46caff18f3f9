"""Codes, pose and shape of a given person: Adam through the search, with the codes' own spread as the prior.

A scan says which points are inside, and its normals; a picture of normals says which rays meet the person. The
gradients of pose and betas are those of the implicit function theorem too.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from ...camera import Camera
from ...controls import Controls
from ...data.scans import Samples
from ...errors import AvatarError
from . import coarse, losses
from .body import SmplBody
from .correspondences import OnPerson, on_mesh, on_surface, seen
from .extraction import Box
from .field import Person, extent, skin_normals
from .lessons import Registered
from .model import Model
from .posing import PersonMesh

_PRIOR = 1e-3  # weight of squared coordinates, which are in standard deviations
_RATES = {"pose": 4e-3, "transl": 2e-3, "betas": 2e-2, "shape": 4e-2, "detail": 4e-2}
_POINTS, _SPACE = 1200, 300  # of a scan, a step
_RAYS, _ALONG = 96, 16  # of a picture, a step, and points of a ray
_DEPTH = 0.35  # metres before and behind the body that rays are followed
_AGAIN = 20  # steps after which points and pixels are looked for anew
_CELL = 0.02  # metres, of the mesh that shows what pixels see

Step = Callable[["Unknowns", int], Tensor]


class Unknowns(nn.Module):
    """What is looked for, from `start`; coordinates that it leaves out begin at the mean person. Colours stay."""

    pose: nn.Parameter
    transl: nn.Parameter
    betas: nn.Parameter
    shape: nn.Parameter
    detail: nn.Parameter

    def __init__(self, model: Model, start: Controls) -> None:
        super().__init__()
        start = model.schema.check(start)
        self.model = [model]  # in a list: its weights are no unknowns
        self._smpl = SmplBody(model.body, device=model.device)
        for name in ("pose", "transl", "betas"):
            setattr(self, name, nn.Parameter(torch.tensor(getattr(start, name))))
        codes = [name for name in start.latents if name in _RATES]
        for name in codes:
            setattr(self, name, nn.Parameter(torch.tensor(start.latents[name])))
        self.names = ["pose", "transl", "betas", *codes]
        self._given = start
        self.to(model.device)

    def registered(self) -> Registered:
        """The body without translation."""
        bones = self._smpl.pose(self.pose, self.betas).bones
        return Registered(self.betas, bones, self._smpl.canonical(self.betas).vertices.detach())

    def person(self) -> Person:
        model = self.model[0]
        return model.networks.sparse_person(model.shape(self.shape), self.betas)

    def detail_code(self) -> Tensor | None:
        """[64], None where the person has no fine stage."""
        model = self.model[0]
        return None if model.detail is None else model.detail(self.detail)

    def controls(self) -> Controls:
        values = {name: getattr(self, name).detach().cpu().numpy().copy() for name in self.names}
        found = {name: values.pop(name) for name in list(values) if name in self._given.latents}
        return replace(self._given, **values, latents={**self._given.latents, **found})


@dataclass(frozen=True)
class Fitted:
    """errors: loss of each step."""

    controls: Controls
    errors: tuple[float, ...]


def fit_scan(model: Model, samples: Samples, start: Controls, steps: int) -> Fitted:
    """start: pose, betas and translation to begin with. Raises ControlError for controls of other sizes."""
    surface = [OnPerson(*(torch.zeros(0) for _ in range(3)))]
    points, normals = model.tensor(samples.surface), model.tensor(samples.normals)

    def step(unknowns: Unknowns, number: int) -> Tensor:
        body, person = unknowns.registered(), unknowns.person()
        near, space = torch.randint(len(samples.near), (_POINTS,)), torch.randint(len(samples.space), (_SPACE,))
        cloud = np.concatenate([samples.near[near], samples.space[space]])
        inside = np.concatenate([samples.near_inside[near], samples.space_inside[space]])
        at = coarse.queried(person, model.tensor(cloud) - unknowns.transl.detach(), body, unknowns.transl)
        total = losses.occupancy(at, model.tensor(inside).float())
        detail = unknowns.detail_code()
        if detail is not None:
            if number % _AGAIN == 0:
                some = torch.randperm(len(points))[: 2 * _POINTS].to(points.device)
                found = on_surface(person, points[some] - unknowns.transl.detach(), body)
                surface[0] = OnPerson(found.neutral, found.transforms, some[found.chosen])
            total = total + losses.normals(_normals(person, detail, surface[0]), normals[surface[0].chosen])
        return total

    return _fit(model, start, steps, step)


def fit_normals(model: Model, picture: np.ndarray, camera: Camera, start: Controls, steps: int) -> Fitted:
    """picture: [H, W, 4] uint8 of world normals, 127.5 (n + 1), with the person as alpha. Raises AvatarError for a
    picture of another size than the camera's, or without a person."""
    if picture.shape != (camera.height, camera.width, 4):
        raise AvatarError(f"the normal map must be {camera.height} x {camera.width} RGBA, got {picture.shape}")
    full = picture[..., 3] > 127
    if not full.any():
        raise AvatarError("the normal map shows nobody: its alpha is 0 everywhere")
    inside, outside = (np.argwhere(part)[:, ::-1] + 0.5 for part in (full, ~full & _grown(full)))
    target = model.tensor(picture[..., :3].reshape(-1, 3) / 127.5 - 1).float()
    pixels = [OnPerson(*(torch.zeros(0) for _ in range(3)))]

    def step(unknowns: Unknowns, number: int) -> Tensor:
        body, person = unknowns.registered(), unknowns.person()
        chosen = np.concatenate([part[torch.randint(len(part), (_RAYS,))] for part in (inside, outside)])
        cloud = model.tensor(_along(camera, chosen, unknowns.transl.detach().cpu().numpy()))
        at = coarse.queried(person, cloud.view(-1, 3) - unknowns.transl.detach(), body, unknowns.transl)
        best = at.logits.view(len(chosen), -1).amax(1).clamp(min=-20)
        hit = torch.cat([best.new_ones(_RAYS), best.new_zeros(_RAYS)])
        total = functional.binary_cross_entropy_with_logits(best, hit)
        detail = unknowns.detail_code()
        if detail is not None:
            if number % _AGAIN == 0:
                pixels[0] = _pixels(unknowns, body, camera, full)
            if len(pixels[0].chosen):
                total = total + losses.normals(_normals(person, detail, pixels[0]), target[pixels[0].chosen])
        return total

    return _fit(model, start, steps, step)


def _fit(model: Model, start: Controls, steps: int, step: Step) -> Fitted:
    torch.manual_seed(0)
    frozen = {parameter: parameter.requires_grad for parameter in model.networks.parameters()}
    model.networks.requires_grad_(False)
    unknowns = Unknowns(model, start)
    adam = torch.optim.Adam([{"params": [getattr(unknowns, name)], "lr": _RATES[name]} for name in unknowns.names])
    errors = []
    for number in range(steps):
        for group, name in zip(adam.param_groups, unknowns.names):
            group["lr"] = _RATES[name] * 0.1 ** (number / steps)
        error = step(unknowns, number)
        prior = sum(getattr(unknowns, name).square().sum() for name in unknowns.names if name not in ("pose", "transl"))
        adam.zero_grad()
        (error + _PRIOR * prior).backward()
        adam.step()
        errors.append(float(error.detach()))
    for parameter, state in frozen.items():
        parameter.requires_grad_(state)
    return Fitted(unknowns.controls(), tuple(errors))


def _normals(person: Person, detail: Tensor, at: OnPerson) -> Tensor:
    with torch.no_grad():
        features = person.occupancy(at.neutral)[1]
    return skin_normals(person.normals(at.neutral, detail, features), at.transforms)


@torch.no_grad()
def _pixels(unknowns: Unknowns, body: Registered, camera: Camera, full: np.ndarray) -> OnPerson:
    """Pixels that show the person as it stands and as it should be."""
    model = unknowns.model[0]
    person = model.networks.person(model.shape(unknowns.shape), unknowns.betas)
    mesh = PersonMesh.of(person, Box.around(body.canonical.cpu().numpy(), 0.15, extent(), _CELL))
    posed, attributes = on_mesh(mesh, person, body.bones)
    found = seen(posed + unknowns.transl, mesh.faces, attributes, camera)
    both = model.tensor(full.reshape(-1))[found.chosen]
    return OnPerson(found.neutral[both], found.transforms[both], found.chosen[both])


def _along(camera: Camera, pixels: np.ndarray, transl: np.ndarray) -> np.ndarray:
    """Points [N, K, 3] on rays through pixels [N, 2], around the depth of the body; at random places."""
    origins, directions = camera.rays(pixels)
    middle = float(np.linalg.norm(camera.position - transl))
    share = (np.arange(_ALONG) + torch.rand(len(pixels), _ALONG).numpy()) / _ALONG
    depth = middle - _DEPTH + 2 * _DEPTH * share
    return (origins[:, None] + directions[:, None] * depth[..., None]).astype(np.float32)


def _grown(full: np.ndarray) -> np.ndarray:
    """What lies within a quarter of the picture of the person: far away nothing is learnt."""
    from scipy.ndimage import binary_dilation

    return binary_dilation(full, iterations=max(2, full.shape[0] // 4))
