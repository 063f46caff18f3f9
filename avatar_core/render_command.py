"""`avatar render ACTOR`: pictures of an actor outside of Blender."""

from __future__ import annotations

import json
from argparse import ArgumentParser, ArgumentTypeError, Namespace
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from .actor import QUALITIES, Actor
from .camera import Camera
from .controls import Controls
from .errors import AvatarError
from .frame import write_exr, write_png

_WRITERS = {"png": write_png, "exr": write_exr}


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("actor", type=Path, help="the .actor file")
    source = parser.add_mutually_exclusive_group()
    source.add_argument(
        "--shot", type=Path, help='JSON {"camera": {...}, "frames": [{controls}, ...]}; see docs/render.md'
    )
    source.add_argument("--motion", help="one of our motions, such as walk or wave; the default is the rest pose")
    parser.add_argument("--frames", type=frame_range, help="A-B or A, counted from 1; the default is all")
    parser.add_argument("--resolution", type=resolution, default=(512, 512), help="WxH when there is no shot")
    parser.add_argument("--quality", choices=QUALITIES, default="preview")
    parser.add_argument("--device", default="cpu", help="torch device (default cpu)")
    parser.add_argument("--format", choices=sorted(_WRITERS), default="png", help="exr has depth, normal and mask too")
    parser.add_argument("--output", type=Path, default=Path("render"), help="folder of the pictures")


def run(arguments: Namespace) -> int:
    actor = Actor.load(arguments.actor, arguments.device)
    camera, frames = _shot(arguments, actor)
    first, last = arguments.frames or (1, len(frames))
    if not 1 <= first <= last <= len(frames):
        raise AvatarError(f"frames {first}-{last} are not in the shot, which has {len(frames)} frames")
    try:
        arguments.output.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise AvatarError(f"the folder {arguments.output} cannot be made: {error.strerror}") from error
    for number in tqdm(range(first, last + 1), unit="frame"):
        frame = actor.render(frames[number - 1], camera, arguments.quality)
        _WRITERS[arguments.format](arguments.output / f"{number:04d}.{arguments.format}", frame)
    return 0


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


def _shot(arguments: Namespace, actor: Actor) -> tuple[Camera, list[Controls]]:
    if arguments.shot is not None:
        data = _read_json(arguments.shot)
        if not isinstance(data, dict) or not isinstance(data.get("frames"), list) or not data["frames"]:
            raise AvatarError(f"{arguments.shot} must hold a 'camera' and a list of 'frames'")
        return Camera.from_dict(data.get("camera")), [Controls.from_dict(frame) for frame in data["frames"]]
    width, height = arguments.resolution
    low, high = actor.body.vertices.min(0), actor.body.vertices.max(0)
    middle = (low + high) / 2
    camera = Camera.look_at(middle + np.array([0, 0.1, 3.2]), middle, np.radians(38), width, height)
    if arguments.motion is None:
        return camera, [actor.schema.neutral()]
    from blend_templates.motions import load_motion

    motion = load_motion(arguments.motion)
    rest = actor.schema.neutral()
    if motion.pose.shape[1:] != rest.pose.shape:
        raise AvatarError(f"the motions fit SMPL skeletons; this actor has {len(rest.pose)} joints: use --shot")
    return camera, [replace(rest, pose=pose, transl=transl) for pose, transl in zip(motion.pose, motion.transl)]


def _read_json(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise AvatarError(f"{path} cannot be read as JSON: {error}") from error
