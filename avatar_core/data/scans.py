"""Scans as a capture, which `avatar prepare` writes: a frame is a scan, in the pose of a body.

FOLDER/capture.json, body.npz             as of any capture: SMPL parameters of each scan, cameras around it
FOLDER/scans/000012.npz                   points, and whether they are inside; points of the surface with normals
FOLDER/images/CAMERA/000012.png           world normals, 127.5 (n + 1)
FOLDER/colours/CAMERA/000012.png          display sRGB, of scans with a texture

Scans stand in SMPL's metres without translation.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

import numpy as np

from ..body import BodyFileError
from ..body.arrays import read_npz
from ..camera import Camera
from ..controls import Controls
from .capture import Capture, CaptureCamera, CaptureError, read_picture
from .smpl_parameters import BETAS

PICTURES = ("normals", "shaded", "colour")
VIEWS, HELD_OUT = 18, (4, 13)  # views around a scan, and those that only measure
_MIDDLE, _HALF = -0.3, 1.0  # metres: what a view shows
_AWAY = 200.0  # metres from the camera, so that views are all but orthographic, as published
_GREY = 0.8  # sRGB of a surface that faces the camera, as of the method's pictures
_MAX_BYTES = 1 << 30


@dataclass(frozen=True, eq=False)
class Samples:
    """Of a scan, metres. near, space: [N, 3] points by the surface and all around, each with inside [N] bool. surface:
    [N, 3] points with unit normals [N, 3] and, of a textured scan, colours [N, 3] display sRGB in [0, 1]."""

    near: np.ndarray
    near_inside: np.ndarray
    space: np.ndarray
    space_inside: np.ndarray
    surface: np.ndarray
    normals: np.ndarray
    colours: np.ndarray | None


@dataclass(frozen=True)
class ScanCapture(Capture):
    """picture: what `image` shows, one of PICTURES."""

    picture: str = "normals"

    @classmethod
    def open(cls, folder: Path | str) -> ScanCapture:
        """Raises CaptureError."""
        base = Capture.open(folder)
        capture = cls(**{name: getattr(base, name) for name in Capture.__dataclass_fields__})
        for frame in range(len(capture.frames)):
            if not capture.samples_path(frame).is_file():
                raise CaptureError(f"{capture.samples_path(frame)} is missing; run 'avatar prepare' again")
        return capture

    @property
    def textured(self) -> bool:
        return all(self._colours(camera, 0).is_file() for camera in range(len(self.cameras)))

    def samples_path(self, frame: int) -> Path:
        return self.folder / "scans" / f"{self.frames[frame].index:06d}.npz"

    def samples(self, frame: int) -> Samples:
        """Raises CaptureError."""
        return read_samples(self.samples_path(frame))

    def showing(self, picture: str, latents: list[dict[str, np.ndarray]]) -> ScanCapture:
        """Other pictures of the same scans; controls are those that gDNA's actors take, with these latents."""
        frames = []
        for frame, known in zip(self.frames, latents):
            pose, betas = frame.controls.pose, frame.controls.betas[:BETAS]
            frames.append(replace(frame, controls=Controls(pose=pose, betas=betas, latents=known)))
        return replace(self, picture=picture, frames=tuple(frames))

    def normals(self, camera: int, frame: int) -> np.ndarray:
        """[H, W, 4] uint8. Raises CaptureError."""
        return super().image(camera, frame)

    def image(self, camera: int, frame: int) -> np.ndarray:
        """[H, W, 4] uint8 of what `picture` names: normals, the clay they shade, or colours. Raises CaptureError."""
        if self.picture == "colour":
            return read_picture(self._colours(camera, frame), self.cameras[camera].camera)
        found = self.normals(camera, frame)
        if self.picture == "normals":
            return found
        towards = (found[..., :3] / 127.5 - 1) @ -self.cameras[camera].camera.forward
        grey = np.round(255 * _GREY * towards.clip(0, 1)).astype(np.uint8)
        return np.concatenate([np.repeat(grey[..., None], 3, 2), found[..., 3:]], 2)

    def _colours(self, camera: int, frame: int) -> Path:
        return self.folder / "colours" / self.cameras[camera].name / f"{self.frames[frame].index:06d}.png"


def views(size: int) -> list[CaptureCamera]:
    """Cameras around the origin, `size` pixels a side."""
    made = []
    for number in range(VIEWS):
        angle = 2 * np.pi * number / VIEWS
        target = np.array([0, _MIDDLE, 0])
        position = target + _AWAY * np.array([-np.sin(angle), 0, np.cos(angle)])
        camera = Camera.look_at(position, target, 2 * np.arctan(_HALF / _AWAY), size, size)
        made.append(CaptureCamera(f"view_{number:02d}", camera, "test" if number in HELD_OUT else "train"))
    return made


@lru_cache(maxsize=256)
def read_samples(path: Path) -> Samples:
    """Raises CaptureError."""
    try:
        arrays = read_npz(path, _MAX_BYTES)
        names = ("near", "near_inside", "space", "space_inside", "surface", "normals")
        made = Samples(**{name: arrays[name] for name in names}, colours=arrays.get("colours"))
    except (BodyFileError, KeyError) as error:
        raise CaptureError(f"{path} holds no samples of a scan: {error}") from error
    for points, beside in (
        (made.near, made.near_inside[:, None]),
        (made.space, made.space_inside[:, None]),
        (made.surface, made.normals),
        (made.surface, made.surface if made.colours is None else made.colours),
    ):
        if points.ndim != 2 or points.shape[1] != 3 or not len(points) or len(beside) != len(points):
            raise CaptureError(f"{path}: samples must be [N, 3] with a value each; run 'avatar prepare' again")
        if not np.isfinite(points).all() or not np.isfinite(beside).all():
            raise CaptureError(f"{path} holds NaN or infinity")
    return made
