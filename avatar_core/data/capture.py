"""Captures: pictures of a body from known cameras in known poses; docs/capture_format.md describes them.

FOLDER/capture.json                        cameras, frames with poses, splits
FOLDER/body.npz                            the body that was posed
FOLDER/images/CAMERA/000012.png            8-bit sRGB with straight alpha, one for every camera and frame
"""

from __future__ import annotations

import io
import json
import math
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from ..body import Body, BodyFileError
from ..body.arrays import read_npz
from ..camera import Camera
from ..controls import ControlError, Controls, ControlSchema
from ..errors import AvatarError

FORMAT, VERSION = "avatar-capture", 1
WORLD, COLOUR_SPACE = "y-up metres", "srgb"
SPLITS = ("train", "test")
MAX_CAMERAS, MAX_FRAMES = 4096, 1_000_000
MAX_MAP = 8192  # texels a side
_MAX_INDEX_BYTES = 1 << 30  # of capture.json
_MAX_BODY_BYTES = 1 << 30  # of body.npz, unpacked
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,63}")  # a camera's name is the name of a folder
_LIMIT = 1e6  # metres, radians or units; larger values are damage


class CaptureError(AvatarError):
    """A capture that cannot be used; the sentence names the file and the entry."""


@dataclass(frozen=True)
class CaptureCamera:
    """A camera and what it is for."""

    name: str
    camera: Camera
    split: str  # "train" or "test"


@dataclass(frozen=True)
class CaptureFrame:
    """A moment: the pose of the body (`controls`: pose, transl, betas, expression) and what it is for."""

    index: int
    controls: Controls
    split: str


@dataclass(frozen=True)
class Capture:
    """Pictures on disk and what is known of them. `open` reads a finished one, `create` starts one."""

    folder: Path
    name: str
    licence: str
    fps: float
    cameras: tuple[CaptureCamera, ...]
    frames: tuple[CaptureFrame, ...]
    body: Body

    @classmethod
    def open(cls, folder: Path | str) -> Capture:
        """Reads and checks everything, down to the wholeness of each picture. Raises CaptureError."""
        capture = read_index(Path(folder))
        for camera in range(len(capture.cameras)):
            for frame in range(len(capture.frames)):
                problem = capture.image_problem(camera, frame)
                if problem:
                    raise CaptureError(f"{capture.image_path(camera, frame)} {problem}")
        return capture

    @classmethod
    def create(
        cls,
        folder: Path | str,
        name: str,
        licence: str,
        fps: float,
        cameras: Sequence[CaptureCamera],
        frames: Sequence[CaptureFrame],
        body: Body,
    ) -> Capture:
        """Starts a capture: writes body.npz and capture.json; the pictures are up to the caller.

        A folder that holds the same capture already is left as it is, so that the caller can go on with what
        `missing()` lists. Raises CaptureError when it holds another one.
        """
        capture = cls(Path(folder), name, licence, fps, tuple(cameras), tuple(frames), body)
        index = capture.folder / "capture.json"
        if index.exists():
            there = read_index(capture.folder)
            same_body = there.body.topology_hash == body.topology_hash
            if not (same_body and _alike(there.to_dict(), capture.to_dict())):
                raise CaptureError(f"{folder} holds another capture; choose another folder or delete it")
            return there
        try:
            capture.folder.mkdir(parents=True, exist_ok=True)
            buffer = io.BytesIO()
            header = np.frombuffer(json.dumps(body.meta()).encode(), np.uint8)
            np.savez_compressed(buffer, meta=header, **body.to_tensors())  # type: ignore[arg-type]
            write_atomically(capture.folder / "body.npz", buffer.getvalue())
            write_atomically(index, (json.dumps(capture.to_dict(), indent=1) + "\n").encode())
        except OSError as error:
            raise CaptureError(f"the capture {folder} cannot be written: {error.strerror or error}") from error
        return read_index(capture.folder)

    @cached_property
    def schema(self) -> ControlSchema:
        """What drives the captured body."""
        return body_schema(self.body)

    def image_path(self, camera: int, frame: int) -> Path:
        return self.folder / "images" / self.cameras[camera].name / f"{self.frames[frame].index:06d}.png"

    def map_path(self, kind: str, frame: int) -> Path:
        """Where `avatar textures` puts the map of a frame; kind: "textures", "confidence" or "normals"."""
        return self.folder / kind / f"{self.frames[frame].index:06d}.png"

    def map(self, path: Path, size: int) -> np.ndarray:
        """[size, size, 3] uint8 of a map. Raises CaptureError."""
        try:
            with Image.open(path, formats=["PNG"]) as picture:
                if max(picture.size) > MAX_MAP:
                    raise CaptureError(f"{path} is larger than any map: {picture.size[0]} x {picture.size[1]}")
                return np.asarray(picture.convert("RGB").resize((size, size), Image.Resampling.BOX))
        except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
            raise CaptureError(f"{path} cannot be read: {error}") from error

    def image(self, camera: int, frame: int) -> np.ndarray:
        """[H, W, 4] uint8: display sRGB with straight alpha, row 0 at the top. Raises CaptureError."""
        return read_picture(self.image_path(camera, frame), self.cameras[camera].camera)

    def image_problem(self, camera: int, frame: int) -> str | None:
        """What is wrong with a picture, to be put behind its path; None when it is whole."""
        path, view = self.image_path(camera, frame), self.cameras[camera].camera
        try:
            with Image.open(path, formats=["PNG"]) as picture:
                if picture.mode != "RGBA" or picture.size != (view.width, view.height):
                    return _wrong_kind(picture, view)
                picture.verify()
        except FileNotFoundError:
            return "is missing; render or copy it, or delete its camera or frame from capture.json"
        except (OSError, SyntaxError, ValueError, Image.DecompressionBombError):
            return "is damaged or no PNG file; delete it and make it again"
        return None

    def missing(self) -> list[tuple[int, int]]:
        """(camera, frame) of all pictures that are not there or not whole, frame by frame."""
        return [
            (camera, frame)
            for frame in range(len(self.frames))
            for camera in range(len(self.cameras))
            if self.image_problem(camera, frame)
        ]

    def to_dict(self) -> dict[str, Any]:
        """What capture.json holds."""
        return {
            "format": FORMAT,
            "version": VERSION,
            "name": self.name,
            "licence": self.licence,
            "colour_space": COLOUR_SPACE,
            "world": WORLD,
            "fps": self.fps,
            "cameras": [{"name": view.name, "split": view.split, **view.camera.to_dict()} for view in self.cameras],
            "frames": [
                {
                    "index": frame.index,
                    "split": frame.split,
                    **{key: _rounded(getattr(frame.controls, key)) for key in ("pose", "transl")},
                    **{key: _sparse(getattr(frame.controls, key)) for key in ("betas", "expression")},
                }
                for frame in self.frames
            ],
        }


def body_schema(body: Body) -> ControlSchema:
    """The controls that a body takes."""
    return ControlSchema(joints=body.joint_names, betas=body.shapedirs.shape[2], expressions=body.expression_names)


def read_index(folder: Path) -> Capture:
    """A capture without a look at its pictures, which may not be there yet. Raises CaptureError."""
    path = folder / "capture.json"
    data = _read_json(path)
    if not isinstance(data, dict) or data.get("format") != FORMAT:
        raise CaptureError(f"{path} is no capture: its 'format' is not '{FORMAT}'")
    version = data.get("version")
    if type(version) is not int or version < 1:
        raise CaptureError(f"{path}: 'version' must be a whole number, got {version!r}")
    if version > VERSION:
        raise CaptureError(f"{path} has version {version}, newer than this program knows ({VERSION}); update it")
    for key, only in (("world", WORLD), ("colour_space", COLOUR_SPACE)):
        if data.get(key) != only:
            raise CaptureError(f"{path}: '{key}' must be '{only}', got {data.get(key)!r}")
    name, licence = (_text(path, data, key) for key in ("name", "licence"))
    fps = data.get("fps")
    if not isinstance(fps, int | float) or not 0 < fps <= 1000:
        raise CaptureError(f"{path}: 'fps' must be a number from 0 to 1000, got {fps!r}")
    body = _read_body(folder / "body.npz")
    cameras = tuple(_camera(path, i, x) for i, x in enumerate(_list(path, data, "cameras", MAX_CAMERAS)))
    frames = tuple(_frame(path, i, x, body) for i, x in enumerate(_list(path, data, "frames", MAX_FRAMES)))
    _unique(path, "camera name", [view.name.casefold() for view in cameras])
    _unique(path, "frame index", [frame.index for frame in frames])
    return Capture(folder, name, licence, float(fps), cameras, frames, body)


def write_atomically(path: Path, data: bytes) -> None:
    """All of it or nothing; raises OSError."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        temporary.write_bytes(data)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def read_picture(path: Path, view: Camera) -> np.ndarray:
    """[H, W, 4] uint8 of a PNG file as large as `view` says. Raises CaptureError."""
    try:
        with Image.open(path) as picture:
            if picture.mode != "RGBA" or picture.size != (view.width, view.height):
                raise CaptureError(f"{path} {_wrong_kind(picture, view)}")
            return np.asarray(picture)
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise CaptureError(f"{path} cannot be read: {error}") from error


def _read_json(path: Path) -> Any:
    try:
        if path.stat().st_size > _MAX_INDEX_BYTES:
            raise CaptureError(f"{path} is larger than {_MAX_INDEX_BYTES >> 20} MB and cannot be a capture")
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise CaptureError(f"{path.parent} is no capture: it has no capture.json") from error
    except (ValueError, RecursionError) as error:
        raise CaptureError(f"{path} is not valid JSON: {error}") from error
    except OSError as error:
        raise CaptureError(f"{path} cannot be read: {error.strerror or error}") from error


def _read_body(path: Path) -> Body:
    try:
        tensors = read_npz(path, _MAX_BODY_BYTES)
        meta = json.loads(tensors.pop("meta", np.zeros(0, np.uint8)).tobytes())
        return Body.from_tensors(tensors, meta)
    except (ValueError, RecursionError) as error:
        raise CaptureError(f"{path}: its entry 'meta' is missing or damaged; write the body again") from error
    except BodyFileError as error:
        raise CaptureError(f"{path} holds no usable body: {error}") from error


def _camera(path: Path, number: int, data: Any) -> CaptureCamera:
    where = f"{path}: camera {number}"
    if not isinstance(data, dict):
        raise CaptureError(f"{where} must be an object, got {type(data).__name__}")
    name = data.get("name")
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise CaptureError(f"{where}: 'name' must be letters, digits, '_', '-' and '.' only, got {str(name)[:80]!r}")
    try:
        camera = Camera.from_dict(data)
    except (AvatarError, OverflowError) as error:
        raise CaptureError(f"{where} ('{name}'): {error}") from error
    return CaptureCamera(name, camera, _split(where, data))


def _frame(path: Path, number: int, data: Any, body: Body) -> CaptureFrame:
    where = f"{path}: frame {number}"
    if not isinstance(data, dict):
        raise CaptureError(f"{where} must be an object, got {type(data).__name__}")
    index = data.get("index")
    if type(index) is not int or not 0 <= index <= 999_999:
        raise CaptureError(f"{where}: 'index' must be a whole number from 0 to 999999, got {index!r}")
    values = {key: data.get(key, []) for key in ("pose", "transl", "betas", "expression")}
    try:
        controls = body_schema(body).check(Controls.from_dict(values))
    except (ControlError, OverflowError) as error:
        raise CaptureError(f"{where}: {error}") from error
    if values["pose"] == [] or values["transl"] == []:
        raise CaptureError(f"{where} has no '{'transl' if values['pose'] else 'pose'}'")
    if any(np.abs(getattr(controls, key)).max(initial=0) > _LIMIT for key in values):
        raise CaptureError(f"{where} holds values beyond {_LIMIT:.0e}; angles are radians and lengths metres")
    return CaptureFrame(index, controls, _split(where, data))


def _split(where: str, data: dict[str, Any]) -> str:
    split = data.get("split")
    if split not in SPLITS:
        raise CaptureError(f"{where}: 'split' must be 'train' or 'test', got {split!r}")
    return split


def _list(path: Path, data: dict[str, Any], key: str, most: int) -> list[Any]:
    entries = data.get(key)
    if not isinstance(entries, list) or not 0 < len(entries) <= most:
        raise CaptureError(f"{path}: '{key}' must be a list of 1 to {most} entries")
    return entries


def _text(path: Path, data: dict[str, Any], key: str) -> str:
    text = data.get(key)
    if not isinstance(text, str) or len(text) > 1000:
        raise CaptureError(f"{path}: '{key}' must be a short text, got {str(text)[:80]!r}")
    return text


def _unique(path: Path, what: str, values: list[Any]) -> None:
    if len(set(values)) != len(values):
        twice = next(value for i, value in enumerate(values) if value in values[:i])
        raise CaptureError(f"{path}: {what} {twice!r} appears twice")


def _wrong_kind(picture: Image.Image, view: Camera) -> str:
    width, height = picture.size
    return (
        f"must be {view.width}x{view.height} RGBA with 8 bits a channel, got {width}x{height} "
        f"{picture.mode}; the mask is its alpha channel"
    )


def _alike(first: Any, second: Any) -> bool:
    """Equal, but for the last digits of numbers (a body is posed with other rounding on another machine)."""
    if isinstance(first, dict) and isinstance(second, dict):
        return first.keys() == second.keys() and all(_alike(first[key], second[key]) for key in first)
    if isinstance(first, list) and isinstance(second, list):
        return len(first) == len(second) and all(map(_alike, first, second))
    if isinstance(first, float) and isinstance(second, float):
        return math.isclose(first, second, rel_tol=1e-5, abs_tol=1e-5)
    return first == second


def _sparse(values: np.ndarray) -> list[Any]:
    """Nothing stands for zeros."""
    return _rounded(values) if values.any() else []


def _rounded(values: np.ndarray) -> list[Any]:
    return np.round(np.asarray(values, np.float64), 7).tolist()
