"""What readers of published folder layouts share: files that are checked before they are used."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from ..camera import Camera, CameraError
from ..errors import AvatarError

PICTURES = (".png", ".jpg", ".jpeg")
_MAX_TEXT = 256 << 20  # bytes of one text file
_MAX_PIXELS = 1 << 26
_MIDDLE = 0.3, 0.7  # of the picture, where principal points lie


class LayoutError(AvatarError):
    """A folder that cannot be used; the sentence names file and line or entry."""


def read_text(path: Path) -> str:
    """Raises LayoutError."""
    try:
        if path.stat().st_size > _MAX_TEXT:
            raise LayoutError(f"{path} is larger than any file of this layout")
        return path.read_text(encoding="utf-8")
    except FileNotFoundError as error:
        raise LayoutError(f"{path} is missing") from error
    except (OSError, UnicodeDecodeError) as error:
        raise LayoutError(f"{path} cannot be read: {getattr(error, 'strerror', None) or 'it is no text'}") from error


def read_json(path: Path) -> Any:
    """Raises LayoutError."""
    try:
        return json.loads(read_text(path))
    except (ValueError, RecursionError) as error:
        raise LayoutError(f"{path} is not JSON: {error}") from error


def sorted_files(folder: Path, endings: tuple[str, ...]) -> list[Path]:
    """The files with these endings by name; none where there is no folder."""
    if not folder.is_dir():
        return []
    return sorted(path for path in folder.iterdir() if path.suffix.lower() in endings)


def picture_size(path: Path) -> tuple[int, int]:
    """Width and height. Raises LayoutError."""
    try:
        with Image.open(path) as image:
            return image.size
    except (OSError, Image.DecompressionBombError) as error:
        raise LayoutError(f"{path} is no picture that can be read") from error


def read_picture(path: Path) -> np.ndarray:
    """[H, W, 3 or 4] uint8. Raises LayoutError."""
    width, height = picture_size(path)
    if width * height > _MAX_PIXELS:
        raise LayoutError(f"{path} has {width}x{height} pixels, more than any texture or picture here")
    try:
        with Image.open(path) as image:
            return np.asarray(image.convert("RGBA" if "A" in image.getbands() else "RGB"))
    except OSError as error:
        raise LayoutError(f"{path} is damaged: {error}") from error


def opencv_camera(
    where: object, K: np.ndarray, view: np.ndarray, size: tuple[int, int], distortion: np.ndarray | None = None
) -> Camera:
    """From a calibration of OpenCV: K [3, 3] with pixel centres at whole numbers, view [4, 4] world to camera, nearly
    rigid; size: width and height. where: file and entry for messages. Raises LayoutError."""
    width, height = size
    if not all(_MIDDLE[0] < (K[i, 2] + 0.5) / side < _MIDDLE[1] for i, side in enumerate(size)):
        raise LayoutError(
            f"{where}: the principal point ({K[0, 2]:g}, {K[1, 2]:g}) lies far from the middle of pictures of "
            f"{width}x{height}: K is for another resolution; scale it"
        )
    ours = K.copy()
    ours[:2, 2] += 0.5
    rigid = view.copy()
    u, _, v = np.linalg.svd(view[:3, :3])
    rigid[:3, :3], rigid[3] = u @ v, (0, 0, 0, 1)
    try:
        return Camera(width, height, ours, rigid, np.zeros(0) if distortion is None else distortion)
    except CameraError as error:
        raise LayoutError(f"{where}: {error}") from error
