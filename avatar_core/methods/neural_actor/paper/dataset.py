"""A published dataset folder becomes a capture: `avatar import neural_actor_data ROOT --output CAPTURE`.

Its textures (tex/) come along, in order, as the maps that `neural_actor_paper` trains on.
"""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from pathlib import Path

import numpy as np
from scipy.ndimage import maximum_filter

from ....body import load_body
from ....data.conversion import add_arguments as add_capture_arguments
from ....data.conversion import write_capture
from ....data.layout import LayoutError
from ....data.neural_actor import NeuralActorFolder, smpl_controls
from ....frame import write_image
from .importer import actor_body

_CAMERAS = 4  # that are looked at
_ON_PERSON = 0.5  # share of the joints
_NEAR = 0.04  # of the picture's height


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("folder", type=Path, help="with canonical.obj, uvmapping.obj, transform/, rgb/, pose/")
    parser.add_argument("--body", type=Path, help="your SMPL file, for body shape; it must have the same mesh")
    add_capture_arguments(parser)


def run(arguments: Namespace) -> int:
    data = NeuralActorFolder.open(arguments.folder)
    for note in data.notes:
        print(f"note: {note}")
    if not data.pictures:
        raise LayoutError(f"{data.folder} has no rgb/: there are no pictures to learn from")
    _check_views(data)
    shape = load_body(arguments.body) if arguments.body else None
    body = actor_body(data.mesh, data.frames, shape, data.folder.name, arguments.licence)
    cameras = {f"{number:04d}": camera for number, camera in enumerate(data.cameras)}
    controls, numbers = smpl_controls(data.frames), list(range(len(data.frames)))
    capture = write_capture(arguments, data.folder.name, cameras, numbers, controls, body, data.picture)
    for frame in numbers if data.textures else ():
        path = capture.map_path("textures", frame)
        if not path.exists():
            path.parent.mkdir(exist_ok=True)
            write_image(path, np.round(data.texture(frame) * 255).astype(np.uint8))
    return 0


def _check_views(data: NeuralActorFolder) -> None:
    """Raises LayoutError where the joints of the first frame do not fall on the person in its pictures."""
    found = []
    for camera in range(0, len(data.cameras), max(1, len(data.cameras) // _CAMERAS)):
        view = data.cameras[camera]
        person = maximum_filter(data.picture(0, camera)[..., 3], max(1, round(_NEAR * view.height)))
        pixels, depth = view.project(data.frames[0].joints)
        inside = ((pixels >= 0) & (pixels < (view.width, view.height))).all(1) & (depth > 0)
        x, y = pixels[inside].astype(int).T
        found.append(np.count_nonzero(person[y, x]) / len(pixels))
    if np.mean(found) < _ON_PERSON:
        raise LayoutError(
            f"{data.pictures[0][0].parent}: only {np.mean(found):.0%} of the joints fall on the person: K is for "
            f"another resolution, or cameras, transform/ and rgb/ do not belong together"
        )
