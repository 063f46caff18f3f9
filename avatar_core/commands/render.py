"""`avatar render ACTOR`: pictures and films of an actor outside of Blender."""

from __future__ import annotations

from argparse import ArgumentParser, ArgumentTypeError, Namespace
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import numpy as np
from tqdm import tqdm

from ..actor import QUALITIES, Actor
from ..device import choose
from ..errors import AvatarError
from ..frame import Frame, write_exr, write_image, write_png
from ..shots import Shot, camera_path, capture_shot, motion_shot, read_shot, rest_shot
from ..video import PLANES, VideoWriter, picture_of
from .vary import add_count, varied

_NEAREST = 0.1  # metres, radius of an orbit
_AROUND = 1.2  # metres before and behind the body that the depth picture spans


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("actor", type=Path, help="the .actor file")
    add_shot_arguments(parser)
    parser.add_argument("--quality", choices=QUALITIES, default="preview")
    parser.add_argument(
        *("--appearance", "-a"), type=Path, nargs="+", metavar="PICTURE", help="look like the person in these pictures"
    )
    parser.add_argument("--format", choices=("exr", "png"), default="png", help="exr has depth, normal and mask too")
    parser.add_argument(
        "--planes", type=planes, default=("color",), help=f"of png and video: {','.join(PLANES)} (default color)"
    )
    parser.add_argument("--video", type=int, metavar="FPS", help="also write PLANE.mp4, so many frames a second")
    parser.add_argument("--output", type=Path, default=Path("render"), help="folder of the pictures")


def add_shot_arguments(parser: ArgumentParser) -> None:
    """What says which frames, from where."""
    source = parser.add_mutually_exclusive_group()
    source.add_argument(
        "--shot", type=Path, help='JSON {"camera": {...}, "frames": [{controls}, ...]}; see docs/render.md'
    )
    source.add_argument("--motion", help="walk, wave, …, or a file of AMASS or AIST++; the default is the rest pose")
    source.add_argument("--capture", type=Path, help="poses and a camera of a capture or a Neural Actor folder")
    parser.add_argument("--camera", help="of the capture, by name; the default is its first")
    parser.add_argument("--up", choices=("y", "-y", "z"), help="axis that is up in --motion (default: the format's)")
    parser.add_argument("--betas", type=numbers, metavar="A,B", help="body shape of all frames (--betas=-1,2)")
    parser.add_argument(
        "--vary", metavar="sample|blend|betas|LATENT", help="other people in these poses: see 'avatar vary'"
    )
    add_count(parser)
    parser.add_argument("--orbit", type=float, metavar="DEGREES", help="turn the camera around the actor by frame")
    parser.add_argument("--radius", type=float, metavar="METRES", help="of the orbit (default: where the camera is)")
    parser.add_argument("--height", type=float, metavar="METRES", help="of the orbit above the middle of the body")
    parser.add_argument("--cameras", type=Path, help="a camera a frame: poses in a .txt file or a folder of them")
    parser.add_argument("--frames", type=frame_range, help="A-B or A, counted from 1; the default is all")
    parser.add_argument("--resolution", type=resolution, default=(512, 512), help="WxH when there is no shot")
    parser.add_argument("--device", default="cpu", help="auto, cpu, cuda, … (default cpu)")


def run(arguments: Namespace) -> int:
    actor = Actor.load(arguments.actor, choose(arguments.device))
    shot = read_shot_arguments(arguments, actor)
    first, last = chosen_frames(arguments, shot)
    try:
        arguments.output.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise AvatarError(f"the folder {arguments.output} cannot be made: {error.strerror}") from error
    person = None if arguments.appearance is None else appearance_of(actor, arguments.appearance)
    camera, controls = shot.frame(first - 1)
    away = float(np.linalg.norm(camera.position - actor.proxy_mesh(controls)[0].mean(0)))
    depths = max(away - _AROUND, 0.0), away + _AROUND
    with ExitStack() as stack:
        films = {}
        if arguments.video is not None:
            size = camera.width, camera.height
            for plane in arguments.planes:
                film = VideoWriter(arguments.output / f"{plane}.mp4", size, arguments.video)
                films[plane] = stack.enter_context(film)
        for number in tqdm(range(first, last + 1), unit="frame"):
            camera, controls = shot.frame(number - 1)
            controls = controls if person is None else replace(controls, appearance=person)
            frame = actor.render(controls, camera, arguments.quality)
            _write(arguments, number, frame, depths)
            for plane, film in films.items():
                film.add(picture_of(frame, plane, depths))
    return 0


def _write(arguments: Namespace, number: int, frame: Frame, depths: tuple[float, float]) -> None:
    if arguments.format == "exr":
        write_exr(arguments.output / f"{number:04d}.exr", frame)
        return
    for plane in arguments.planes:
        if plane == "color":
            write_png(arguments.output / f"{number:04d}.png", frame)
        else:
            write_image(arguments.output / f"{plane}_{number:04d}.png", picture_of(frame, plane, depths))


def appearance_of(actor: Actor, pictures: list[Path]) -> np.ndarray:
    """Raises AvatarError."""
    from ..data.layout import read_picture

    return actor.read_appearance(*(read_picture(path) for path in pictures))


def chosen_frames(arguments: Namespace, shot: Shot) -> tuple[int, int]:
    """First and last, counted from 1; raises AvatarError."""
    first, last = arguments.frames or (1, len(shot))
    if not 1 <= first <= last <= len(shot):
        raise AvatarError(f"frames {first}-{last} are not in the shot, which has {len(shot)} frames")
    return first, last


def read_shot_arguments(arguments: Namespace, actor: Actor) -> Shot:
    """Raises AvatarError."""
    if arguments.shot is not None:
        shot = read_shot(arguments.shot)
    elif arguments.capture is not None:
        shot = capture_shot(arguments.capture, arguments.camera)
    elif arguments.motion is not None:
        shot = motion_shot(actor, arguments.motion, arguments.resolution, arguments.up)
    else:
        shot = rest_shot(actor, arguments.resolution)
    if arguments.vary is not None:
        shot = varied(actor, shot, arguments.vary, arguments.count, arguments.seed)
    elif arguments.count is not None:
        raise AvatarError("--count says how many frames --vary has; which frames are rendered is said by --frames")
    if arguments.betas is not None:
        if len(arguments.betas) > actor.schema.betas:
            raise AvatarError(f"this actor has {actor.schema.betas} betas, --betas gives {len(arguments.betas)}")
        shot = shot.shaped(np.pad(arguments.betas, (0, actor.schema.betas - len(arguments.betas))).tolist())
    if arguments.cameras is not None:
        return Shot(camera_path(arguments.cameras, shot.cameras[0]), shot.frames)
    if arguments.orbit is None:
        return shot
    if arguments.radius is not None and arguments.radius < _NEAREST:
        raise AvatarError(f"--radius must be at least {_NEAREST} m, got {arguments.radius:g}")
    whole = max(1, round(360 / abs(arguments.orbit))) if arguments.orbit and len(shot) == 1 else None
    middle = actor.proxy_mesh(shot.frames[0])[0].mean(0)
    return shot.orbit(arguments.orbit, middle, whole, arguments.radius, arguments.height)


def planes(text: str) -> tuple[str, ...]:
    """'color,depth'."""
    names = tuple(text.split(","))
    unknown = [name for name in names if name not in PLANES]
    if unknown:
        raise ArgumentTypeError(f"unknown plane '{unknown[0]}'; known are {', '.join(PLANES)}")
    return names


def numbers(text: str) -> list[float]:
    """'1.5,-2'."""
    try:
        return [float(word) for word in text.split(",")]
    except ValueError as error:
        raise ArgumentTypeError(f"expected numbers with commas, got '{text}'") from error


def frame_range(text: str) -> tuple[int, int]:
    """'7' or '3-12'."""
    first, _, last = text.partition("-")
    if not (first.isdigit() and (last.isdigit() or not _)):
        raise ArgumentTypeError(f"expected A-B or A, got '{text}'")
    return int(first), int(last or first)


def resolution(text: str) -> tuple[int, int]:
    """'640x360'."""
    width, _, height = text.lower().partition("x")
    if not (width.isdigit() and height.isdigit() and 0 < int(width) <= 16384 and 0 < int(height) <= 16384):
        raise ArgumentTypeError(f"expected WxH in pixels, got '{text}'")
    return int(width), int(height)
