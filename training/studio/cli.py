"""`avatar capture`: renders training pictures of a rigged character."""

from __future__ import annotations

import shutil
import sys
from argparse import ArgumentParser, Namespace
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from avatar_core.controls import Controls
from avatar_core.data.capture import Capture, CaptureCamera, CaptureFrame
from avatar_core.data.multiface import Identity
from avatar_core.data.nerf_blendshape import HeadFolder
from avatar_core.data.people.capture import write_people

from .blender import StudioError, run_script
from .cameras import camera_ring
from .character import default_character
from .head import head_film, write_film
from .head_views import write_head_views
from .motion import MIDDLE, posed_points
from .people import BACKGROUND, SKELETON, Occluder, make_occluders, make_recording
from .subject import Subject, file_subject, studio_subject

_SMALL_HEAD = 96  # pixels a side, of a head that shows no more than half the skin's detail
CLIPS = ("walk", "wave", "raise_arms", "twist_bend", "squat", "jump")
_LIMITS = {
    "cameras": (1, 1000),
    "frames": (1, 100_000),
    "resolution": (8, 8192),
    "samples": (1, 65536),
    "views": (1, 1000),
    "people": (0, 1000),
    "occluders": (0, 1000),
}


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("--output", type=Path, required=True, help="folder; goes on where it stopped")
    parser.add_argument("--cameras", type=int, default=14, help="cameras around the subject (default 14)")
    parser.add_argument("--frames", type=int, default=48, help="poses (default 48)")
    parser.add_argument("--resolution", type=int, default=256, help="pixels a side (default 256)")
    parser.add_argument("--samples", type=int, default=64, help="Cycles samples a pixel (default 64)")
    parser.add_argument("--threads", type=int, default=0, help="of Blender (default: all)")
    parser.add_argument("--blender", metavar="EXE", help="a Blender program, instead of the bpy module")
    own = parser.add_argument_group("the studio's own character (default)")
    own.add_argument("--motion", default=",".join(CLIPS), help="clips, separated by commas (default: all)")
    own.add_argument("--head", action="store_true", help="a film of its head instead, in NeRFBlendShape's layout")
    own.add_argument(
        "--views", type=int, default=1, metavar="N", help="cameras of --head; 2 or more: Multiface's layout"
    )
    own.add_argument("--people", type=int, default=0, metavar="N", help="N people with joints, a capture for each")
    own.add_argument("--occluders", type=int, default=0, metavar="N", help="boxes that stand before --people")
    own.add_argument("--seed", type=int, default=0, help="of the variation of its poses")
    own.add_argument("--save-blend", type=Path, metavar="FILE", help="also write the scene as a .blend file")
    rigged = parser.add_argument_group("a character of yours, in its own animation")
    rigged.add_argument("--blend", type=Path, metavar="FILE", help="the .blend file it is in")
    rigged.add_argument("--armature", metavar="NAME", help="default: the one that moves the most vertices")
    rigged.add_argument("--mesh", metavar="NAME", action="append", default=[], help="repeatable; default: all")
    rigged.add_argument("--keep-light", action="store_true", help="use the file's lights and world")


def run(arguments: Namespace) -> int:
    for name, (low, high) in _LIMITS.items():
        if not low <= getattr(arguments, name) <= high:
            raise StudioError(f"--{name} must be {low} to {high}, got {getattr(arguments, name)}")
    if arguments.head and not arguments.people:
        return _head(arguments)
    if arguments.people:
        return _people(arguments)
    _shoot(arguments, arguments.output)
    return 0


def _shoot(arguments: Namespace, output: Path, person: int = 0) -> Capture:
    """A capture of one subject, rendered to its end. person: which one, of several."""
    work = (output / ".studio").resolve()
    try:
        work.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StudioError(f"{output} cannot be written: {error.strerror or error}") from error
    try:
        subject = _subject(arguments, work, person)
        for warning in subject.warnings:
            print(f"warning: {warning}", file=sys.stderr)
        capture = _start(arguments, subject, output)
        missing = capture.missing()
        job = _job(arguments, subject, capture, missing)
        if missing or job["save_blend"]:
            run_script("render.py", job, arguments.blender, work, len(missing))
    finally:
        shutil.rmtree(work, ignore_errors=True)
        for left in output.glob("images/*/.*.part.png"):
            left.unlink(missing_ok=True)
    print(f"{output}: {len(capture.cameras)} cameras x {len(capture.frames)} frames")
    return Capture.open(output)


def _people(arguments: Namespace) -> int:
    """The last one, of two or more, is held out."""
    if arguments.blend is not None or arguments.head:
        raise StudioError("--people are the studio's own; make captures of --blend and --head apart")
    recordings = []
    for person in range(arguments.people):
        name = f"person_{person:02d}"
        capture = _shoot(arguments, arguments.output / name, person)
        split = "test" if 0 < person == arguments.people - 1 else "train"
        recordings.append(make_recording(capture, name, split, _occluders(arguments, person)))
    write_people(arguments.output, "studio people", "CC0-1.0", SKELETON, BACKGROUND, recordings)
    print(f"{arguments.output}: {arguments.people} people")
    return 0


def _occluders(arguments: Namespace, person: int) -> list[Occluder]:
    return make_occluders(arguments.occluders, np.array([0, MIDDLE, 0]), arguments.seed + person)


def _head(arguments: Namespace) -> int:
    """A tenth of the frames, at the end, is held out."""
    if arguments.blend is not None or arguments.frames < 2:
        raise StudioError("--head films the studio's own character, in 2 frames or more")
    film = head_film(arguments.frames, arguments.resolution, arguments.seed)
    character = default_character(512 if arguments.resolution <= _SMALL_HEAD else 1024)
    try:
        if arguments.views > 1:
            write_head_views(arguments.output, character, film, arguments.views)
        else:
            write_film(arguments.output, character, film, max(1, arguments.frames // 10))
    except OSError as error:
        raise StudioError(f"{arguments.output} cannot be written: {error.strerror or error}") from error
    (Identity if arguments.views > 1 else HeadFolder).open(arguments.output)
    print(f"{arguments.output}: {arguments.frames} frames of a head")
    return 0


def _subject(arguments: Namespace, work: Path, person: int) -> Subject:
    if arguments.blend is None:
        clips, seed = tuple(arguments.motion.split(",")), arguments.seed + person
        subject = studio_subject(work, clips, arguments.frames, seed, arguments.resolution, person)
        boxes = [box.to_dict() for box in _occluders(arguments, person)] if arguments.people else []
        return replace(subject, scene={**subject.scene, "occluders": boxes})
    if not arguments.blend.is_file():
        raise StudioError(f"--blend {arguments.blend} is no file")
    return file_subject(work, arguments.blend, arguments.armature, arguments.mesh, arguments.frames, arguments.blender)


def _start(arguments: Namespace, subject: Subject, output: Path) -> Capture:
    """The capture in the output folder, new or as it was left."""
    points = posed_points(subject.body, subject.poses).reshape(-1, 3)
    extent = float(np.ptp(subject.body.vertices, axis=0).max())
    cameras, held_out = camera_ring(points, extent, arguments.cameras, arguments.resolution)
    poses = subject.poses
    return Capture.create(
        output,
        name=subject.name,
        licence=subject.licence,
        fps=subject.fps,
        cameras=[CaptureCamera(f"camera_{i:02d}", camera, _split(held_out[i])) for i, camera in enumerate(cameras)],
        frames=[
            CaptureFrame(i, Controls(pose=poses.pose[i], transl=poses.transl[i]), _split(poses.test[i]))
            for i in range(len(poses.pose))
        ],
        body=replace(subject.body, posedirs=None),  # Blender's armatures have none
    )


def _split(held_out: np.bool_) -> str:
    return "test" if held_out else "train"


def _job(arguments: Namespace, subject: Subject, capture: Capture, missing: list[tuple[int, int]]) -> dict[str, Any]:
    return {
        **subject.scene,
        "keep_light": arguments.keep_light,
        "samples": arguments.samples,
        "threads": arguments.threads,
        "save_blend": str(arguments.save_blend.resolve()) if arguments.save_blend else None,
        "cameras": [{"name": view.name, **view.camera.to_dict()} for view in capture.cameras],
        "pictures": [
            {
                "camera": camera,
                "frame": subject.scene_frames[frame],
                "seed": frame * len(capture.cameras) + camera,
                "path": str(capture.image_path(camera, frame).resolve()),
            }
            for camera, frame in missing
        ],
    }
