"""A tracked head (NeRFBlendShape's layout) as a capture: one camera that stands still, before which the head moves."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np

from ..body.expressions import EXPRESSIONS
from ..body.stand_in import stand_in
from ..camera import Camera
from ..controls import Controls, ControlSchema
from .boxes import Box
from .capture import Capture, CaptureCamera, CaptureFrame
from .multiface_capture import MultifaceCapture
from .nerf_blendshape import HeadFolder
from .scans import ScanCapture

_HELD_OUT, _SHARE = 500, 10  # frames at the end, at most one in ten
_RADIUS = 0.12  # metres, of the stand-in
_FPS = 25.0
_FACING = np.diag([1.0, -1, -1, 1])  # the camera at the world's origin, looking along -z


@dataclass(frozen=True)
class HeadCapture(Capture):
    """Controls hold `head` and `expression`. Pictures have the head's mask as alpha; colours are left as they are, with
    the background around and through the head's edge."""

    source: HeadFolder
    start: int

    @classmethod
    def open(cls, folder: Path | str, start: int | None = None) -> HeadCapture:
        """start: the first frame that is held out, which may count from the end; default: the last 500, or a tenth of
        fewer. Raises LayoutError."""
        source = HeadFolder.open(folder)
        count = len(source.frames)
        start = -min(_HELD_OUT, max(1, count // _SHARE)) if start is None else start
        train = source.split(start)[0]
        camera = replace(source.frames[0].camera, world_to_camera=_FACING)
        frames = tuple(
            CaptureFrame(place, head_controls(frame.camera, frame.expression), "train" if place in train else "test")
            for place, frame in enumerate(source.frames)
        )
        edge = np.full(3, _RADIUS)
        return cls(
            *(Path(folder), Path(folder).name, "unknown", _FPS, (CaptureCamera("camera", camera, "train"),), frames),
            *(stand_in("head", -edge, edge, "CC0-1.0"), source, start),
        )

    @cached_property
    def schema(self) -> ControlSchema:
        count = self.source.coefficients
        names = EXPRESSIONS if count == len(EXPRESSIONS) else tuple(f"coefficient_{k + 1}" for k in range(count))
        return ControlSchema(expressions=names, head=True)

    @cached_property
    def background(self) -> np.ndarray:
        """[H, W, 3] uint8."""
        return self.source.background()

    @cached_property
    def ranges(self) -> tuple[np.ndarray, np.ndarray]:
        """Lowest and highest coefficients [K] of the training frames."""
        return self.source.ranges(self.start)

    def boxes(self, frame: int) -> tuple[Box, Box]:
        """The face and the mouth. Raises LayoutError."""
        return self.source.boxes(frame)

    def image(self, camera: int, frame: int) -> np.ndarray:
        mask = self.source.mask(frame)[..., None] * np.uint8(255)
        return np.concatenate([self.source.picture(frame), mask], 2)

    def image_path(self, camera: int, frame: int) -> Path:
        return self.folder / "head_imgs" / f"{self.source.frames[frame].number}.jpg"

    def image_problem(self, camera: int, frame: int) -> str | None:
        return None if self.image_path(camera, frame).is_file() else "is missing"


def head_controls(camera: Camera, expression: np.ndarray) -> Controls:
    """A head as `camera` (in the head's frame) sees it, before a camera at the world's origin that looks along -z."""
    return Controls(expression=expression, head=(_FACING @ camera.world_to_camera).astype(np.float32))


def open_capture(folder: Path | str, start: int | None = None) -> Capture:
    """A capture, scans, or a tracked head: of one camera, or in Multiface's layout. Raises AvatarError."""
    folder = Path(folder)
    if (folder / "transforms.json").exists() and not (folder / "capture.json").exists():
        return HeadCapture.open(folder, start)
    if (folder / "KRT").is_file():
        return MultifaceCapture.open(folder)
    if (folder / "scans").is_dir():
        return ScanCapture.open(folder)
    return Capture.open(folder)
