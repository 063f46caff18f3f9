"""`avatar gaussians KIND`: pictures of the renderer of Gaussian primitives alone: spheres, ellipsoids, poses."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from pathlib import Path

import numpy as np
import torch

from ...data.people.capture import PeopleCapture
from ...errors import AvatarError
from ...frame import write_image
from ...video import limb_colour
from .latent import latent_image
from .lens import plane
from .primitives import Gaussians, Primitives
from .skeleton import SKELETONS

_MANY = 64
_MOST = 100_000
_FOCAL = 1.2  # of the shorter side
_WIDE = 4.0  # of a limb's width: what a pose is drawn with
SHAPES = ("one-sphere", "one-ellipsoid", "two-spheres", "many-spheres", "many-ellipsoids")


def add_arguments(parser: ArgumentParser) -> None:
    kinds = parser.add_subparsers(dest="kind", required=True, metavar="KIND")
    for shape in SHAPES:
        one = kinds.add_parser(shape, help=f"{shape.replace('-', ' ')} before the camera")
        if shape.startswith("many"):
            one.add_argument("count", type=int, nargs="?", default=_MANY, help=f"how many (default {_MANY})")
            one.add_argument("--seed", type=int, default=0, help="the same places for the same number (default 0)")
        _picture(one, 270, 480)
    pose = kinds.add_parser("pose", help="a person of a capture, limb by limb")
    pose.add_argument("capture", type=Path, help="a capture of people")
    pose.add_argument("--recording", help="by name; the default is the first")
    pose.add_argument("--view", help="the camera; the default is the first")
    pose.add_argument("--frame", type=int, help="number of the moment; the default is the first")
    _picture(pose, 256, 256)


def _picture(parser: ArgumentParser, height: int, width: int) -> None:
    parser.add_argument("--height", type=int, default=height, help=f"pixels (default {height})")
    parser.add_argument("--width", type=int, default=width, help=f"pixels (default {width})")
    parser.add_argument("--density", type=float, default=0.0, help="hide what is behind, per metre; 0 blends")
    parser.add_argument("--output", type=Path, required=True, metavar="PICTURE.png")


def run(arguments: Namespace) -> int:
    height, width = arguments.height, arguments.width
    if not (0 < height <= 4096 and 0 < width <= 4096 and arguments.density >= 0):
        raise AvatarError("--height and --width must be 1 to 4096, and --density not negative")
    if arguments.kind == "pose":
        rays, made = pose(arguments)
    else:
        made = shapes(arguments.kind, getattr(arguments, "count", 1), getattr(arguments, "seed", 0))
        focal = _FOCAL * min(height, width)
        K = torch.tensor([[focal, 0, width / 2], [0, focal, height / 2], [0, 0, 1]])
        rays = plane(K, torch.zeros(0), torch.arange(width) + 0.5, torch.arange(height) + 0.5)
    colours = torch.as_tensor(limb_colour(np.arange(len(made.widths)))).float()
    drawn = latent_image(rays, made, colours, published=False, density=arguments.density)
    pixels = torch.cat([drawn.features / drawn.alpha.clamp(min=1e-6), drawn.alpha[None]]).clamp(0, 1)
    write_image(arguments.output, (pixels.permute(1, 2, 0) * 255).round().byte().numpy())
    print(f"wrote {arguments.output}: {len(made.widths)} Gaussians")
    return 0


def shapes(kind: str, count: int, seed: int) -> Gaussians:
    """Before a camera at the origin. Raises AvatarError for an absurd number."""
    if not 1 <= count <= _MOST or seed < 0:
        raise AvatarError(f"there can be 1 to {_MOST} Gaussians, and the seed is not negative")
    if kind == "one-sphere":
        return _gaussians([[0, 0, 3]], [[1, 0, 0]], [1])
    if kind == "one-ellipsoid":
        return _gaussians([[0, 0, 3]], [[1.6, 0.8, 0.4]], [0.5])
    if kind == "two-spheres":
        return _gaussians([[-0.2, 0, 3], [0.2, 0, 3.6]], [[1, 0, 0]] * 2, [1, 1])
    random = np.random.default_rng(seed)
    centres = random.uniform([-1.5, -0.8, 2.5], [1.5, 0.8, 5], (count, 3))
    size = random.uniform(0.2, 0.6, count)
    turned = random.standard_normal((count, 3))
    turned /= np.linalg.norm(turned, axis=1, keepdims=True)
    length = size if kind == "many-spheres" else size * random.uniform(1, 4, count)
    return _gaussians(centres, turned * length[:, None], size)


def pose(arguments: Namespace) -> tuple[torch.Tensor, Gaussians]:
    """Rays of the square about the person, in so many pixels, and the Gaussians of limbs, wide enough to be seen."""
    from ...data.people.views import square_around

    capture = PeopleCapture.open(arguments.capture)
    recording = next((r for r in capture.recordings if arguments.recording in (None, r.name)), None)
    if recording is None:
        raise AvatarError(f"{arguments.capture} has no recording '{arguments.recording}'")
    view = next((c.camera for c in recording.cameras if arguments.view in (None, c.name)), None)
    frames = recording.joints.frames.tolist()
    frame = frames[0] if arguments.frame is None else arguments.frame
    if view is None or frame not in frames:
        raise AvatarError(f"recording '{recording.name}' has no camera '{arguments.view}' or no frame {frame}")
    place = frames.index(frame)
    known = recording.joints.world_confidence[place] > 0
    joints = np.where(known[:, None], recording.joints.world[place], np.nan)
    x, y, side = square_around(view, joints[known], 2.4)
    square = view.crop(x, y, side, side)
    columns = (torch.arange(arguments.width) + 0.5) * (side / arguments.width)
    rows = (torch.arange(arguments.height) + 0.5) * (side / arguments.height)
    rays = plane(torch.as_tensor(square.K), torch.as_tensor(square.distortion), columns, rows)
    local = joints @ view.world_to_camera[:3, :3].T + view.world_to_camera[:3, 3]
    made = Primitives(SKELETONS[capture.skeleton])(torch.as_tensor(local).float())
    return rays.float(), Gaussians(made.centres, made.axes, _WIDE * made.widths)


def _gaussians(*arrays: object) -> Gaussians:
    return Gaussians(*(torch.as_tensor(np.asarray(array), dtype=torch.float32) for array in arrays))
