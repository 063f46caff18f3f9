"""What every `avatar import` of pictures shares: a folder in a published layout is written as a capture."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from tqdm import tqdm

from ..body import Body
from ..camera import Camera
from ..controls import Controls
from ..errors import AvatarError
from ..frame import write_image
from .capture import SPLITS, Capture, CaptureCamera, CaptureFrame

TRAIN, TEST = SPLITS
PictureReader = Callable[[int, int], np.ndarray]
"""Frame and camera to [H, W, 4] uint8: display sRGB with straight alpha."""


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("--output", type=Path, required=True, help="folder of the capture; goes on where it stopped")
    parser.add_argument(
        "--test-cameras", metavar="A,B", help="cameras to hold out, by name (default: every fifth, or the last)"
    )
    parser.add_argument("--test-every", type=int, default=6, help="hold out every so-manieth frame (default 6; 0 none)")
    parser.add_argument("--licence", default="unknown", help="of the pictures (default unknown)")
    parser.add_argument("--fps", type=float, default=30.0, help="of the pictures (default 30)")


def write_capture(
    arguments: Namespace,
    name: str,
    cameras: dict[str, Camera],
    indices: Sequence[int],
    controls: Sequence[Controls],
    body: Body,
    picture: PictureReader,
) -> Capture:
    """indices: the frames' numbers. arguments: those of `add_arguments`. Raises AvatarError."""
    names = list(cameras)
    usual = names[4::5] or names[1:][-1:]
    held = set(usual if arguments.test_cameras is None else arguments.test_cameras.split(","))
    unknown = sorted(held - {"", *cameras})
    if unknown:
        raise AvatarError(f"--test-cameras: there is no camera '{unknown[0]}'; there are {', '.join(cameras)}")
    every = arguments.test_every
    capture = Capture.create(
        arguments.output,
        name,
        arguments.licence,
        arguments.fps,
        [CaptureCamera(name, camera, TEST if name in held else TRAIN) for name, camera in cameras.items()],
        [
            CaptureFrame(index, one, TEST if every and (place + 1) % every == 0 else TRAIN)
            for place, (index, one) in enumerate(zip(indices, controls))
        ],
        body,
    )
    for camera, frame in tqdm(capture.missing(), unit="picture"):
        path = capture.image_path(camera, frame)
        path.parent.mkdir(parents=True, exist_ok=True)
        write_image(path, picture(frame, camera))
    print(f"{capture.folder}: {len(capture.cameras)} cameras x {len(capture.frames)} frames")
    return capture
