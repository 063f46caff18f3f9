"""A picture made tile by tile, at the scale of its quality, where the body can be seen."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from ..camera import Camera
from ..frame import EMPTY_DEPTH, Frame
from ..quality import Cancelled, Quality

_NEAR = 0.02  # metres; a body nearer than this to the camera plane is not bounded in the picture

Planes = Mapping[str, np.ndarray]


def empty_planes(pixels: int) -> dict[str, np.ndarray]:
    """The planes of a Frame with nobody in it, a row a pixel, for a tile to fill in."""
    return {
        "rgba": np.zeros((pixels, 4), np.float32),
        "depth": np.full(pixels, EMPTY_DEPTH, np.float32),
        "normal": np.zeros((pixels, 3), np.float32),
        "mask": np.zeros(pixels, np.float32),
    }


@dataclass(frozen=True)
class Watch:
    """Who waits for the picture. `cancel` is asked between tiles, `progress` told a share from 0 to 1."""

    cancel: Callable[[], bool] | None = None
    progress: Callable[[float], None] | None = None

    def check(self) -> None:
        """Raises Cancelled when the picture is not wanted any more."""
        if self.cancel is not None and self.cancel():
            raise Cancelled


def render_tiles(
    camera: Camera,
    quality: Quality,
    tile: Callable[[Camera], Planes],
    rays: int,
    vertices: np.ndarray,
    reach: float,
    watch: Watch,
) -> Frame:
    """The frame of `camera`. tile: a camera of at most about `rays` pixels to the planes of Frame, one row a pixel.

    vertices: [V, 3] metres, world; nothing lies farther than `reach` metres from all of them. Raises Cancelled.
    """
    scaled = camera.scaled(quality.scale)
    x0, y0, x1, y1 = visible_region(scaled, vertices, reach)
    frame = Frame.empty(scaled.width, scaled.height)
    width = x1 - x0
    rows = max(1, rays // max(width, 1))
    for top in range(y0, y1 if width > 0 else y0, rows):
        watch.check()
        bottom = min(top + rows, y1)
        for name, plane in tile(scaled.crop(x0, top, width, bottom - top)).items():
            getattr(frame, name)[top:bottom, x0:x1] = plane.reshape(bottom - top, width, *plane.shape[1:])
        if watch.progress is not None:
            watch.progress((bottom - y0) / (y1 - y0))
    if quality.scale > 1:
        return frame.reduced(round(quality.scale))
    return frame if quality.scale == 1 else frame.enlarged(camera.width, camera.height)


def visible_region(camera: Camera, vertices: np.ndarray, reach: float) -> tuple[int, int, int, int]:
    """Pixels x0, y0, x1, y1 that can see anything within `reach` metres of vertices [V, 3]."""
    low, high = vertices.min(0) - reach, vertices.max(0) + reach
    corners = np.stack(np.meshgrid(*np.stack([low, high], 1), indexing="ij"), -1).reshape(-1, 3)
    if (camera.project(corners)[1] < _NEAR).any() or camera.distortion.any():
        return 0, 0, camera.width, camera.height
    pixels, depth = camera.project(vertices)
    pad = np.ceil(reach * max(camera.K[0, 0], camera.K[1, 1]) / max(depth.min(), _NEAR)) + 2
    first, last = np.floor(pixels.min(0) - pad), np.ceil(pixels.max(0) + pad)
    x0, y0 = (int(np.clip(value, 0, side)) for value, side in zip(first, (camera.width, camera.height)))
    x1, y1 = (int(np.clip(value, 0, side)) for value, side in zip(last, (camera.width, camera.height)))
    return (x0, y0, x1, y1) if x1 > x0 and y1 > y0 else (0, 0, 0, 0)
