"""The second stage: normals by a detail code, from a scan's own normals and from a discriminator of pictures."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from ...camera import Camera
from . import losses
from .correspondences import OnPerson, ScanOnPerson
from .discriminator import REAL_EVERY, REAL_WEIGHT, penalty
from .field import Person, skin_normals
from .lessons import Lessons

_TO_PICTURE = (1.0, -1.0, -1.0)  # x right, y up, z to the camera, from the camera's own axes


@dataclass(frozen=True, eq=False)
class Pictures:
    """[C, S, S] each in [-1, 1], background 1: of the person, with gradients, and of the scan."""

    made: Tensor
    scanned: Tensor


def terms(
    scan: ScanOnPerson, detail: Tensor, lessons: Lessons, frame: int, points: int, camera: Camera | None
) -> tuple[dict[str, Tensor], Pictures | None]:
    """Weighted loss terms of one scan, and its pictures for `adversarial`. detail: [64] with gradients. camera: of the
    pictures, None for none."""
    some = torch.randint(len(scan.neutral), (points,))
    found = _normals(scan.person, detail, scan.neutral[some], scan.transforms[some], scan.features[some])
    made = {
        "normals": losses.normals(found, scan.normals[some]),
        "regular": losses.REGULAR / 2 * losses.regular(detail),
    }
    if camera is None:
        return made, None
    seen = scan.seen(camera)
    with torch.no_grad():
        features = scan.person.occupancy(seen.neutral)[1]
    shown = _normals(scan.person, detail, seen.neutral, seen.transforms, features)
    picture = on_white(to_picture(shown, camera), seen, camera)
    return made, Pictures(picture, scanned_picture(lessons, camera, frame))


def adversarial(discriminator: nn.Module, pictures: list[Pictures], step: int) -> dict[str, Tensor]:
    """Loss terms of both sides at once: the first has gradients to what made the pictures alone, the others to the
    discriminator alone (non-saturating, Goodfellow et al. 2014)."""
    made, scanned = (torch.stack([getattr(one, side) for one in pictures]) for side in ("made", "scanned"))
    frozen = {name: value.detach() for name, value in discriminator.state_dict().items()}
    judged = torch.func.functional_call(discriminator, frozen, (made,))
    found = {
        "adversarial": functional.softplus(-judged).mean(),
        "discriminator": functional.softplus(discriminator(made.detach())).mean()
        + functional.softplus(-discriminator(scanned)).mean(),
    }
    if step % REAL_EVERY == 0:
        found["penalty"] = REAL_WEIGHT / 2 * REAL_EVERY * penalty(discriminator, scanned)
    return found


def scanned_picture(lessons: Lessons, camera: Camera, frame: int) -> Tensor:
    """[3, S, S] in [-1, 1]: normals as the camera sees them."""
    image = lessons.tensor(lessons.capture.normals(lessons.view(camera), frame)).float().flatten(0, 1)
    normals, full = image[:, :3] / 127.5 - 1, image[:, 3:] / 255
    picture = to_picture(normals, camera) * full + 1 - full
    return picture.view(camera.height, camera.width, 3).permute(2, 0, 1)


def _normals(person: Person, detail: Tensor, neutral: Tensor, transforms: Tensor, features: Tensor) -> Tensor:
    """Posed unit normals [N, 3]."""
    return skin_normals(person.normals(neutral, detail, features), transforms)


def on_white(values: Tensor, seen: OnPerson, camera: Camera) -> Tensor:
    """[C, S, S] of pixels [N, C] that show the person."""
    picture = values.new_ones(camera.height * camera.width, values.shape[1]).index_put((seen.chosen,), values)
    return picture.view(camera.height, camera.width, -1).permute(2, 0, 1)


def to_picture(normals: Tensor, camera: Camera) -> Tensor:
    """World normals [N, 3] as the camera sees them: x right, y up, z towards it."""
    turn = torch.as_tensor(camera.world_to_camera[:3, :3] * np.array(_TO_PICTURE)[:, None])
    return normals @ turn.to(normals).T
