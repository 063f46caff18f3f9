"""`avatar capture`: renders training pictures of a rigged character."""

from __future__ import annotations

import json
import tempfile
from argparse import ArgumentParser, Namespace
from dataclasses import replace
from pathlib import Path

import numpy as np

from avatar_core.body import Body
from avatar_core.controls import Controls
from avatar_core.data.capture import Capture, CaptureCamera, CaptureFrame

from .blender import run_script
from .cameras import camera_ring
from .character import default_character
from .motion import Poses, centred, posed_points, sample_poses
from .package import write_character

CLIPS = ("walk", "wave", "raise_arms", "twist_bend", "squat", "jump")


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("--output", type=Path, required=True, help="folder of the capture; goes on where it stopped")
    parser.add_argument("--cameras", type=int, default=14, help="cameras around the subject (default 14)")
    parser.add_argument("--frames", type=int, default=48, help="poses (default 48)")
    parser.add_argument("--resolution", type=int, default=256, help="pixels a side (default 256)")
    parser.add_argument("--samples", type=int, default=16, help="Cycles samples a pixel (default 16)")
    parser.add_argument("--motion", default=",".join(CLIPS), help="clips, separated by commas")
    parser.add_argument("--seed", type=int, default=0, help="of the variation of poses")
    parser.add_argument("--threads", type=int, default=0, help="of Blender (default: all)")
    parser.add_argument("--blender", help="a Blender program, instead of the bpy module")


def run(arguments: Namespace) -> int:
    character = default_character()
    clips = tuple(arguments.motion.split(","))
    poses = centred(character.body, sample_poses(character.body, clips, arguments.frames, arguments.seed))
    capture = _start(arguments, character.body, poses)
    missing = capture.missing()
    if missing:
        with tempfile.TemporaryDirectory(prefix="avatar_studio_") as folder:
            write_character(Path(folder), character, poses)
            job = _job(arguments, capture, missing)
            run_script("render.py", {**job, "character": folder}, arguments.blender, len(missing))
    Capture.open(arguments.output)
    print(f"{arguments.output}: {len(capture.cameras)} cameras x {len(capture.frames)} frames")
    return 0


def _start(arguments: Namespace, body: Body, poses: Poses) -> Capture:
    points = posed_points(body, poses).reshape(-1, 3)
    height = float(np.ptp(body.vertices[:, 1]))
    cameras, held_out = camera_ring(points, height, arguments.cameras, arguments.resolution)
    return Capture.create(
        arguments.output,
        name="studio",
        licence="CC0-1.0",
        fps=30.0,
        cameras=[
            CaptureCamera(f"camera_{i:02d}", camera, "test" if held_out[i] else "train")
            for i, camera in enumerate(cameras)
        ],
        frames=[
            CaptureFrame(i, Controls(pose=poses.pose[i], transl=poses.transl[i]), "test" if poses.test[i] else "train")
            for i in range(len(poses.pose))
        ],
        body=replace(body, posedirs=None),  # Blender's armature has none
    )


def _job(arguments: Namespace, capture: Capture, missing: list[tuple[int, int]]) -> dict[str, object]:
    return {
        "samples": arguments.samples,
        "threads": arguments.threads,
        "cameras": [{"name": view.name, **view.camera.to_dict()} for view in capture.cameras],
        "pictures": [
            {
                "camera": camera,
                "frame": capture.frames[frame].index,
                "seed": frame * len(capture.cameras) + camera,
                "path": str(capture.image_path(camera, frame).resolve()),
            }
            for camera, frame in missing
        ],
    }
