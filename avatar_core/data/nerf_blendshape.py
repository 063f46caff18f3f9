"""The folder that NeRFBlendShape's released loader reads: one video of a head, tracked.

ROOT/transforms.json              w h fx fy cx cy and frames: img_id, transform_matrix, exp_ori
ROOT/bc.jpg                       the picture without the head
ROOT/head_imgs/ID.jpg             the head before bc.jpg; ori_imgs/ID.jpg the whole picture (optional)
ROOT/parsing/ID.png               labels; the head is exactly (0, 0, 255)
ROOT/ori_imgs/ID.lms              478 landmarks of MediaPipe's face mesh, for the patches of training (optional)
ROOT/max_46.txt, min_46.txt       ranges of the coefficients over the training frames (optional: computed)

All frames have as many coefficients as the first: 46 where FaceWarehouse's expressions were tracked. Files of ranges
have that number in their names.

transform_matrix takes OpenGL's camera axes to the head's frame (y up, facing +z, about metres). What differs from our
conventions ends here: those axes, and pixel centres at whole numbers (our K has cx, cy half a pixel larger).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from ..body.expressions import EXPRESSIONS
from ..camera import Camera, CameraError
from .boxes import Box
from .layout import LayoutError, read_json, read_text

COEFFICIENTS = len(EXPRESSIONS)
LANDMARKS = 478
_MOST = 1023  # coefficients
_MAX_FRAMES, _MAX_SIDE = 1_000_000, 8192
_VALID_EVERY = 70
_HEAD = (0, 0, 255)
_RIGID = 1e-3


@dataclass(frozen=True)
class HeadFrame:
    """A picture. number: its `img_id`. camera: in the head's frame. expression: [K] float32."""

    number: int
    camera: Camera
    expression: np.ndarray


@dataclass(frozen=True)
class HeadFolder:
    """A checked folder; frames in the order of their numbers. filed: [F] each frame's place in transforms.json."""

    folder: Path
    width: int
    height: int
    frames: tuple[HeadFrame, ...]
    filed: tuple[int, ...]

    @classmethod
    def open(cls, folder: Path | str) -> HeadFolder:
        """Reads everything but pixels, and sees that pictures and labels are there. Raises LayoutError."""
        folder = Path(folder)
        path = folder / "transforms.json"
        if not path.exists():
            raise LayoutError(f"{folder} is no tracked head: it has no transforms.json")
        data = read_json(path)
        if not isinstance(data, dict):
            raise LayoutError(f"{path} must hold a JSON object")
        width, height = (_side(path, data, name) for name in ("w", "h"))
        fx, fy, cx, cy = (_number(path, data, name) for name in ("fx", "fy", "cx", "cy"))
        K = np.array([[fx, 0, cx + 0.5], [0, fy, cy + 0.5], [0, 0, 1]])
        entries = data.get("frames")
        if not isinstance(entries, list) or not 0 < len(entries) <= _MAX_FRAMES:
            raise LayoutError(f"{path}: 'frames' must be a list of 1 to {_MAX_FRAMES} frames")
        count = _coefficients(entries[0])
        found = [_frame(path, place, entry, (width, height), K, count) for place, entry in enumerate(entries)]
        order = sorted(range(len(found)), key=lambda place: found[place].number)
        for one, two in pairwise(order):
            if found[one].number == found[two].number:
                raise LayoutError(f"{path}: frames {one} and {two} have the same img_id {found[one].number}")
        opened = cls(folder, width, height, tuple(found[place] for place in order), tuple(order))
        opened._check_files()
        return opened

    @property
    def coefficients(self) -> int:
        return len(self.frames[0].expression)

    def picture(self, frame: int) -> np.ndarray:
        """[H, W, 3] uint8: the head before the background, display sRGB. Raises LayoutError."""
        image = self._image(self._path("head_imgs", frame, ".jpg"))
        if image.shape[2] == 3:
            return image
        alpha = image[..., 3:] / np.float32(255)
        return np.round(image[..., :3] * alpha + self.background() * (1 - alpha)).astype(np.uint8)

    def whole(self, frame: int) -> np.ndarray:
        """[H, W, 3] uint8 of ori_imgs/. Raises LayoutError."""
        return self._image(self._path("ori_imgs", frame, ".jpg"))[..., :3]

    def mask(self, frame: int) -> np.ndarray:
        """[H, W] bool: pixels of the head. Raises LayoutError."""
        return (self._image(self._path("parsing", frame, ".png"))[..., :3] == _HEAD).all(-1)

    def background(self) -> np.ndarray:
        """[H, W, 3] uint8. Raises LayoutError."""
        return self._image(self.folder / "bc.jpg")[..., :3]

    def boxes(self, frame: int) -> tuple[Box, Box]:
        """The face and the mouth, from the landmarks. Raises LayoutError."""
        path = self._path("ori_imgs", frame, ".lms")
        marks = _table(path, LANDMARKS, 2).astype(np.int64)
        low, high = marks.min(0), marks.max(0)
        (x, y), radius = (low + high) / 2, 0.6 * float(np.hypot(*(high - low)))
        face = (x - radius, y - 1.2 * radius, x + radius, y + 0.8 * radius)
        return self._box(face), self._box((marks[57, 0], marks[0, 1], marks[287, 0], marks[17, 1]))

    def split(self, start: int) -> tuple[range, range, range]:
        """Frames to train on, to look at while training, and to test: before `start` (which may count from the end),
        every 70th of the rest, and all of the rest. Raises LayoutError where nothing is left to train on."""
        train = range(len(self.frames))[:start]
        if not train:
            raise LayoutError(f"{self.folder}: of {len(self.frames)} frames none is left before frame {start}")
        test = range(len(self.frames))[start:]
        return train, test[::_VALID_EVERY], test

    def ranges(self, start: int) -> tuple[np.ndarray, np.ndarray]:
        """Lowest and highest coefficients [K] float32, in half precision's steps as the released code has them.

        From min_K.txt and max_K.txt, else of the frames that stand before `start` in transforms.json (not: by
        number). Raises LayoutError.
        """
        names = range_files(self.folder, self.coefficients)
        if all(name.exists() for name in names):
            low, high = (read_range(name, self.coefficients) for name in names)
            if (low > high).any():
                raise LayoutError(f"{names[0]}, line {int((low > high).argmax()) + 1} is above {names[1].name}'s")
            return low, high
        chosen = range(len(self.frames))[:start]
        values = np.array([frame.expression for place, frame in zip(self.filed, self.frames) if place in chosen])
        if not len(values):
            raise LayoutError(f"{self.folder}: of {len(self.frames)} frames none is left before frame {start}")
        return _halved(values.min(0)), _halved(values.max(0))

    def _path(self, room: str, frame: int, ending: str) -> Path:
        return self.folder / room / f"{self.frames[frame].number}{ending}"

    def _image(self, path: Path) -> np.ndarray:
        return _image(path, (self.width, self.height))

    def _box(self, edges: tuple[float, float, float, float]) -> Box:
        left, top, right, bottom = (int(edge) for edge in edges)
        columns, rows = sorted((left, right)), sorted((top, bottom))
        return Box(
            *(int(np.clip(low, 1, side - 1)) for low, side in ((columns[0], self.width), (rows[0], self.height))),
            *(int(np.clip(high, 1, side - 1)) for high, side in ((columns[1], self.width), (rows[1], self.height))),
        )

    def _check_files(self) -> None:
        for frame in range(len(self.frames)):
            for path in (self._path("head_imgs", frame, ".jpg"), self._path("parsing", frame, ".png")):
                if not path.is_file():
                    raise LayoutError(f"{path} is missing; make it, or take the frame out of transforms.json")
        if not (self.folder / "bc.jpg").is_file():
            raise LayoutError(f"{self.folder / 'bc.jpg'} is missing; it is the picture without the head")


def range_files(folder: Path, coefficients: int = COEFFICIENTS) -> tuple[Path, Path]:
    """Of the lowest and of the highest values; get_max writes them."""
    return folder / f"min_{coefficients}.txt", folder / f"max_{coefficients}.txt"


def read_range(path: Path, coefficients: int = COEFFICIENTS) -> np.ndarray:
    """[K] float32, in half precision's steps, of a file of get_max. Raises LayoutError."""
    return _halved(_table(path, coefficients, 1)[:, 0])


def _halved(values: np.ndarray) -> np.ndarray:
    return values.astype(np.float16).astype(np.float32)


def _coefficients(entry: Any) -> int:
    """How many the first frame has; what is none at all counts as 46, and is refused with its frame."""
    values = entry.get("exp_ori") if isinstance(entry, dict) else None
    return len(values) if isinstance(values, list) and 0 < len(values) <= _MOST else COEFFICIENTS


def _frame(path: Path, place: int, entry: Any, size: tuple[int, int], K: np.ndarray, coefficients: int) -> HeadFrame:
    where = f"{path}: frame {place}"
    if not isinstance(entry, dict):
        raise LayoutError(f"{where} must be an object, got {type(entry).__name__}")
    number = entry.get("img_id")
    if type(number) is not int or not 0 <= number < 1 << 31:
        raise LayoutError(f"{where}: 'img_id' must be a whole number, got {str(number)[:40]!r}")
    pose = _array(where, entry, "transform_matrix", (4, 4))
    turn = pose[:3, :3]
    if np.abs(turn.T @ turn - np.eye(3)).max() > _RIGID or np.linalg.det(turn) < 0:
        raise LayoutError(f"{where}: the rotation in 'transform_matrix' is not orthonormal")
    u, _, v = np.linalg.svd(turn)
    view = np.eye(4)
    view[:3, :3] = (u @ v * (1, -1, -1)).T
    view[:3, 3] = -view[:3, :3] @ pose[:3, 3]
    try:
        camera = Camera(*size, K, view)
    except CameraError as error:
        raise LayoutError(f"{where}: {error}") from error
    return HeadFrame(number, camera, _array(where, entry, "exp_ori", (coefficients,)).astype(np.float32))


def _array(where: str, entry: dict[str, Any], name: str, shape: tuple[int, ...]) -> np.ndarray:
    try:
        value = np.asarray(entry[name], np.float64)
    except (KeyError, TypeError, ValueError) as error:
        raise LayoutError(f"{where}: '{name}' is missing or not numbers") from error
    wanted = " x ".join(map(str, shape))
    if value.shape != shape:
        raise LayoutError(f"{where}: '{name}' must be {wanted} numbers, has {' x '.join(map(str, value.shape))}")
    if not np.isfinite(value).all() or np.abs(value).max() > 1e6:
        raise LayoutError(f"{where}: '{name}' holds NaN, infinity or a huge number")
    return value


def _side(path: Path, data: dict[str, Any], name: str) -> int:
    value = _number(path, data, name)
    if value != int(value) or not 1 <= value <= _MAX_SIDE:
        raise LayoutError(f"{path}: '{name}' must be 1 to {_MAX_SIDE} pixels, got {value:g}")
    return int(value)


def _number(path: Path, data: dict[str, Any], name: str) -> float:
    value = data.get(name)
    if not isinstance(value, int | float) or isinstance(value, bool) or not abs(value) < 1e6:
        raise LayoutError(f"{path}: '{name}' must be a number, got {str(value)[:40]!r}")
    return float(value)


def _image(path: Path, size: tuple[int, int]) -> np.ndarray:
    """[H, W, 3 or 4] uint8, averaged down where the file is larger. Raises LayoutError."""
    try:
        with Image.open(path, formats=["JPEG", "PNG"]) as image:
            if max(image.size) > _MAX_SIDE:
                raise LayoutError(f"{path} has {image.size[0]}x{image.size[1]} pixels, more than any picture here")
            kind = image.convert("RGBA" if "A" in image.getbands() else "RGB")
            return np.asarray(kind if kind.size == size else kind.resize(size, Image.Resampling.BOX))
    except FileNotFoundError as error:
        raise LayoutError(f"{path} is missing") from error
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise LayoutError(f"{path} is damaged or no picture: {error}") from error


def _table(path: Path, rows: int, columns: int) -> np.ndarray:
    """[rows, columns] finite numbers of a text file. Raises LayoutError."""
    lines = [line.split() for line in read_text(path).splitlines() if line.strip()]
    if len(lines) != rows:
        raise LayoutError(f"{path} must have {rows} lines, has {len(lines)}")
    for number, words in enumerate(lines, 1):
        if len(words) != columns or not all(re.fullmatch(r"[-+]?[\d.]+([eE][-+]?\d+)?", word) for word in words):
            raise LayoutError(f"{path}, line {number}: needs {columns} number{'s' * (columns > 1)}")
    try:
        return np.array(lines, np.float64)
    except ValueError as error:
        raise LayoutError(f"{path} has a line that is no number") from error
