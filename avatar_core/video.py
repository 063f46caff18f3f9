"""Pictures to look at: planes of a frame as 8-bit images, and MP4 files of them."""

from __future__ import annotations

import os
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np

from .errors import AvatarError
from .frame import EMPTY_DEPTH, Frame, linear_to_srgb

PLANES = ("color", "depth", "normal", "mask", "limb")
_HUE = 0.61803398875  # from one limb's to the next's, the golden ratio


def picture_of(frame: Frame, plane: str, depths: tuple[float, float]) -> np.ndarray:
    """[H, W, 3] uint8 for the eye; exact values are in EXR files.

    color: sRGB over white. depth: white at `depths[0]` metres, dark grey at `depths[1]`, black where there is nothing.
    normal: (n + 1) / 2. mask: coverage. limb: a hue each, black where there is none. Raises AvatarError for a frame
    without limbs.
    """
    if plane == "color":
        values = linear_to_srgb(np.clip(frame.rgba[..., :3] + (1 - frame.rgba[..., 3:]), 0, 1))
    elif plane == "depth":
        near, far = depths
        share = np.clip((frame.depth - near) / max(far - near, 1e-6), 0, 1)
        values = np.where(frame.depth < EMPTY_DEPTH, 1 - 0.85 * share, 0)[..., None]
    elif plane == "normal":
        values = np.where(frame.mask[..., None] > 0, frame.normal * 0.5 + 0.5, 0)
    elif plane == "mask":
        values = frame.mask[..., None]
    elif frame.limb is None:
        raise AvatarError("pictures of this actor have no limbs; leave 'limb' out of the planes")
    else:
        values = np.where(frame.limb[..., None] >= 0, limb_colour(frame.limb), 0)
    return np.round(np.broadcast_to(values, (*frame.depth.shape, 3)) * 255).astype(np.uint8)


def limb_colour(limb: np.ndarray) -> np.ndarray:
    """[...] to [..., 3] display sRGB, a saturated hue each."""
    hue = (limb[..., None] * _HUE) % 1
    return np.clip(np.abs((hue * 6 + np.array([0, 4, 2])) % 6 - 3) - 1, 0, 1)


class VideoWriter:
    """An H.264 file, written beside and renamed when the block ends well. Needs the package `av`."""

    def __init__(self, path: Path, size: tuple[int, int], fps: int) -> None:
        try:
            import av
        except ImportError as error:
            raise AvatarError("videos need PyAV: pip install 'avatar-core[video]'") from error
        self.path, self._part, self._av = path, path.with_name(path.name + ".part"), av
        self._size = size[0] // 2 * 2, size[1] // 2 * 2  # H.264 wants even sides
        try:
            self._file: Any = av.open(str(self._part), "w", format="mp4")
        except OSError as error:
            raise AvatarError(f"{path} cannot be written: {error.strerror or error}") from error
        self._stream = self._file.add_stream("libx264", rate=fps)
        self._stream.width, self._stream.height = self._size
        self._stream.pix_fmt, self._stream.options = "yuv420p", {"crf": "16"}

    def add(self, picture: np.ndarray) -> None:
        """[H, W, 3] uint8 sRGB."""
        image = np.ascontiguousarray(picture[: self._size[1], : self._size[0]])
        for packet in self._stream.encode(self._av.VideoFrame.from_ndarray(image, format="rgb24")):
            self._file.mux(packet)

    def __enter__(self) -> VideoWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            for packet in self._stream.encode():
                self._file.mux(packet)
        self._file.close()
        if kind is None:
            os.replace(self._part, self.path)
        else:
            self._part.unlink(missing_ok=True)
