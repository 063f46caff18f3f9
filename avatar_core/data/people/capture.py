"""People filmed by several cameras, with joints instead of a body; docs/human_view_synthesis.md describes the folder.

FOLDER/people.json                          skeleton, recordings, their cameras and splits
FOLDER/RECORDING/joints.npz                 frames, joints in the world and in the pictures, confidences
FOLDER/RECORDING/images/CAMERA/000012.png   8-bit sRGB with straight alpha; or .jpg, with a mask:
FOLDER/RECORDING/masks/CAMERA/000012.png    the person is 128 and above
"""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from ...body import BodyFileError
from ...body.arrays import read_npz
from ...camera import Camera
from ...errors import AvatarError
from ..capture import (
    COLOUR_SPACE,
    MAX_CAMERAS,
    MAX_FRAMES,
    SPLITS,
    WORLD,
    CaptureCamera,
    CaptureError,
    write_atomically,
)
from ..layout import LayoutError, read_json, read_picture

FORMAT, VERSION = "avatar-people", 1
SKELETONS = {"human36m17": 17, "panoptic117": 117}
"""Joints of each."""
_MAX_RECORDINGS = 4096
_MAX_JOINTS_BYTES = 2 << 30  # of one joints.npz
_FAR = 1e6  # metres or pixels; more is damage
_MASK = 128


@dataclass(frozen=True)
class Joints:
    """What is known of the person at F moments before C cameras, J joints.

    frames: [F] int32, the numbers of the pictures. test: [F] bool, held out. world: [F, J, 3] float32, metres.
    world_confidence: [F, J] float32. points: [C, F, J, 2] float32 pixels, the centre of the top left one at 0.5.
    confidence: [C, F, J] float32. seen: [C, F] bool, where there is a picture. Confidences are 0 (unknown) to 1.
    """

    frames: np.ndarray
    test: np.ndarray
    world: np.ndarray
    world_confidence: np.ndarray
    points: np.ndarray
    confidence: np.ndarray
    seen: np.ndarray

    def problem(self, cameras: int, joints: int) -> str | None:
        """What does not fit, to be put behind the file's name."""
        count = len(self.frames)
        shapes = {
            "frames": (count,),
            "test": (count,),
            "world": (count, joints, 3),
            "world_confidence": (count, joints),
            "points": (cameras, count, joints, 2),
            "confidence": (cameras, count, joints),
            "seen": (cameras, count),
        }
        for name, shape in shapes.items():
            found = getattr(self, name)
            if found.shape != shape:
                wanted, got = (" x ".join(map(str, sides)) for sides in (shape, found.shape))
                return f"'{name}' must be {wanted}, is {got}: there are {joints} joints and {cameras} cameras"
            if not np.isfinite(found).all() or np.abs(found).max(initial=0) > _FAR:
                return f"'{name}' must be finite numbers below {_FAR:.0e}; give unknown joints the confidence 0"
        if not 0 < count <= MAX_FRAMES or len(np.unique(self.frames)) != count or self.frames.min() < 0:
            return "'frames' must be different whole numbers"
        if not self.seen.any():
            return "'seen' says that there are no pictures"
        return None


@dataclass(frozen=True)
class Recording:
    """One person in front of cameras. split: 'test' for a person (or an act) that training never sees."""

    folder: Path
    name: str
    person: str
    split: str
    cameras: tuple[CaptureCamera, ...]
    joints: Joints

    def picture(self, camera: int, frame: int) -> np.ndarray:
        """[H, W, 4] uint8: display sRGB with straight alpha. frame: a place in `joints.frames`. Raises CaptureError."""
        path, view = self.image_path(camera, frame), self.cameras[camera].camera
        try:
            image = read_picture(path)
            if image.shape[2] == 3:
                mask = read_picture(self.mask_path(camera, frame))[..., :1]
                if mask.shape[:2] != image.shape[:2]:
                    raise CaptureError(f"{self.mask_path(camera, frame)} has another size than its picture")
                image = np.concatenate([image, np.where(mask >= _MASK, np.uint8(255), np.uint8(0))], 2)
        except LayoutError as error:
            raise CaptureError(str(error)) from error
        if image.shape[:2] != (view.height, view.width):
            raise CaptureError(
                f"{path} must be {view.width}x{view.height} pixels as its camera, is {image.shape[1]}x{image.shape[0]}"
            )
        return image

    def image_path(self, camera: int, frame: int) -> Path:
        """The PNG, or the JPEG where there is none."""
        stem = self.folder / "images" / self.cameras[camera].name / f"{self.joints.frames[frame]:06d}"
        png = stem.with_suffix(".png")
        return png if png.exists() else stem.with_suffix(".jpg")

    def mask_path(self, camera: int, frame: int) -> Path:
        return self.folder / "masks" / self.cameras[camera].name / f"{self.joints.frames[frame]:06d}.png"


@dataclass(frozen=True)
class PeopleCapture:
    """Recordings of people. background: [3] uint8, what training puts behind people unless it draws one."""

    folder: Path
    name: str
    licence: str
    skeleton: str
    background: tuple[int, int, int]
    recordings: tuple[Recording, ...]

    @classmethod
    def open(cls, folder: Path | str) -> PeopleCapture:
        """Reads and checks all but pixels. Raises CaptureError."""
        folder = Path(folder)
        path = folder / "people.json"
        try:
            data = read_json(path)
        except LayoutError as error:
            raise CaptureError(str(error)) from error
        if not isinstance(data, dict) or data.get("format") != FORMAT or data.get("version") != VERSION:
            raise CaptureError(f"{path} is no capture of people: 'format' and 'version' must be '{FORMAT}', {VERSION}")
        skeleton = data.get("skeleton")
        if skeleton not in SKELETONS:
            raise CaptureError(f"{path}: 'skeleton' must be {' or '.join(SKELETONS)}, got {str(skeleton)[:80]!r}")
        colour = data.get("background")
        if not (isinstance(colour, list) and len(colour) == 3 and all(type(c) is int and 0 <= c < 256 for c in colour)):
            raise CaptureError(f"{path}: 'background' must be 3 whole numbers from 0 to 255, got {str(colour)[:80]}")
        entries = data.get("recordings")
        if not isinstance(entries, list) or not 0 < len(entries) <= _MAX_RECORDINGS:
            raise CaptureError(f"{path}: 'recordings' must be a list of 1 to {_MAX_RECORDINGS} entries")
        recordings = tuple(_recording(path, entry, SKELETONS[skeleton]) for entry in entries)
        if len({recording.name.casefold() for recording in recordings}) != len(recordings):
            raise CaptureError(f"{path}: two recordings have one name")
        name, licence = (str(data.get(key, "unknown"))[:1000] for key in ("name", "licence"))
        return cls(folder, name, licence, skeleton, (colour[0], colour[1], colour[2]), recordings)

    @cached_property
    def people(self) -> tuple[str, ...]:
        """Their names, each once."""
        return tuple(dict.fromkeys(recording.person for recording in self.recordings))


def write_people(
    folder: Path,
    name: str,
    licence: str,
    skeleton: str,
    background: Sequence[int],
    recordings: Sequence[Recording],
) -> PeopleCapture:
    """Writes people.json and each joints.npz; the pictures are up to the caller. Raises CaptureError."""
    document = {
        "format": FORMAT,
        "version": VERSION,
        "name": name,
        "licence": licence,
        "colour_space": COLOUR_SPACE,
        "world": WORLD,
        "skeleton": skeleton,
        "background": [int(value) for value in background],
        "recordings": [
            {
                "name": one.name,
                "person": one.person,
                "split": one.split,
                "cameras": [{"name": view.name, "split": view.split, **view.camera.to_dict()} for view in one.cameras],
            }
            for one in recordings
        ],
    }
    try:
        for one in recordings:
            (folder / one.name).mkdir(parents=True, exist_ok=True)
            buffer = io.BytesIO()
            np.savez_compressed(buffer, **vars(one.joints))
            write_atomically(folder / one.name / "joints.npz", buffer.getvalue())
        write_atomically(folder / "people.json", (json.dumps(document, indent=1) + "\n").encode())
    except OSError as error:
        raise CaptureError(f"the capture {folder} cannot be written: {error.strerror or error}") from error
    return PeopleCapture.open(folder)


def _recording(path: Path, data: Any, joints: int) -> Recording:
    name = data.get("name") if isinstance(data, dict) else None
    if not isinstance(name, str) or not plain_name(name):
        raise CaptureError(f"{path}: the name of a recording is that of its folder, got {str(name)[:80]!r}")
    where = f"{path}: recording '{name}'"
    if data.get("split") not in SPLITS:
        raise CaptureError(f"{where}: 'split' must be 'train' or 'test', got {str(data.get('split'))[:80]!r}")
    views = data.get("cameras")
    if not isinstance(views, list) or not 0 < len(views) <= MAX_CAMERAS:
        raise CaptureError(f"{where}: 'cameras' must be a list of 1 to {MAX_CAMERAS} entries")
    cameras = tuple(_camera(where, view) for view in views)
    if len({view.name.casefold() for view in cameras}) != len(cameras):
        raise CaptureError(f"{where}: two cameras have one name")
    return Recording(
        path.parent / name,
        name,
        str(data.get("person", name))[:100],
        data["split"],
        cameras,
        _joints(path.parent / name / "joints.npz", len(cameras), joints),
    )


def _camera(where: str, data: Any) -> CaptureCamera:
    name = data.get("name") if isinstance(data, dict) else None
    if not isinstance(name, str) or not plain_name(name) or data.get("split") not in SPLITS:
        raise CaptureError(f"{where}: a camera needs a name that a folder can have, and the split 'train' or 'test'")
    try:
        return CaptureCamera(name, Camera.from_dict(data), data["split"])
    except (AvatarError, OverflowError) as error:
        raise CaptureError(f"{where}: camera '{name}': {error}") from error


def _joints(path: Path, cameras: int, joints: int) -> Joints:
    names = tuple(Joints.__dataclass_fields__)
    try:
        arrays = read_npz(path, _MAX_JOINTS_BYTES, set(names))
    except BodyFileError as error:
        raise CaptureError(str(error)) from error
    missing = [name for name in names if name not in arrays]
    if missing:
        raise CaptureError(f"{path} has no '{missing[0]}'; write the recording again")
    found = Joints(**arrays)
    if any(array.dtype.kind not in "biuf" for array in arrays.values()) or found.frames.dtype.kind not in "iu":
        raise CaptureError(f"{path} must hold plain numbers")
    problem = found.problem(cameras, joints)
    if problem:
        raise CaptureError(f"{path}: {problem}")
    return found


def plain_name(name: str) -> bool:
    """Whether a folder inside of the capture can have the name."""
    return 0 < len(name) <= 64 and name[0] not in ".-" and all(c.isalnum() or c in "_.-" for c in name)
