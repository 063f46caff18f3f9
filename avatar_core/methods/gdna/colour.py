"""A third stage, which the published system does not have: colours by a code, from textured scans.

The network has the layout of that of normals. Colours of the scan's surface teach it, and a discriminator that sees
normals and colours together.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ...camera import Camera
from . import losses
from .correspondences import ScanOnPerson
from .field import skin_normals
from .fine import Pictures, on_white, scanned_picture, to_picture
from .lessons import Lessons


def terms(
    scan: ScanOnPerson,
    codes: tuple[Tensor, Tensor],
    lessons: Lessons,
    frame: int,
    points: int,
    camera: Camera | None,
) -> tuple[dict[str, Tensor], Pictures | None]:
    """As of the fine stage. codes: of detail, and of colour [64] with gradients."""
    (detail, code), person = codes, scan.person
    some = torch.randint(len(scan.neutral), (points,))
    found = person.colours(scan.neutral[some], code, scan.features[some])
    assert scan.colours is not None, "checked when training starts"
    made = {
        "colours": (found - scan.colours[some]).abs().mean(),
        "regular": losses.REGULAR / 2 * losses.regular(code),
    }
    if camera is None:
        return made, None
    seen = scan.seen(camera)
    with torch.no_grad():
        features = person.occupancy(seen.neutral)[1]
        normals = skin_normals(person.normals(seen.neutral, detail, features), seen.transforms)
    colours = person.colours(seen.neutral, code, features)
    values = torch.cat([to_picture(normals, camera), 2 * colours - 1], 1)
    scanned = torch.cat([scanned_picture(lessons, camera, frame), _captured(lessons, camera, frame)])
    return made, Pictures(on_white(values, seen, camera), scanned)


def _captured(lessons: Lessons, camera: Camera, frame: int) -> Tensor:
    """[3, S, S] in [-1, 1], over white."""
    image = lessons.capture.showing("colour", [{}] * len(lessons)).image(lessons.view(camera), frame)
    colours, full = (lessons.tensor(image).float() / 255).split([3, 1], 2)
    return (2 * (colours * full + 1 - full) - 1).permute(2, 0, 1)
