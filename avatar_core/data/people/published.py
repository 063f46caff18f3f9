"""Processed Panoptic Studio and Human3.6M as captures of people: `avatar import human_view_synthesis_data ROOT`.

ROOT/SEQUENCE/Subsequences/I/                     of Panoptic; ROOT/SUBJECT/Sequences/ACTION/ of Human3.6M
    cameras.json                                  {VIEW: {"R", "t" metres, "K", "dist_coef", "resolution"}}, OpenCV's
    Databases/Images/VIEW.lmdb                    frame number -> JPEG
    Databases/Masks/SOLO/VIEW.lmdb                frame number -> JPEG of the mask
    Databases/Poses/2D/BODY_135/VIEW.lmdb         frame number -> [135, 3, 1] x, y, confidence
                       CPN/VIEW.lmdb              Human3.6M: [17, 2, 1]
    Databases/Poses/3D/BODY_135/Reconstructed.lmdb             -> [135, 4, 1] metres, confidence
                       Groundtruth.lmdb           Human3.6M: [17, 3, 1]

Keys are pickled numbers and values pickled tensors; both are read without running anything. Pictures are copied as they
are, masks cut at one half. What differs from our conventions ends here: pixel centres at whole numbers, worlds whose y
points down (Panoptic) or whose z points up (Human3.6M).
"""

from __future__ import annotations

import io
from argparse import ArgumentParser, Namespace
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from tqdm import tqdm

from ...camera import Camera
from ..capture import CaptureCamera, write_atomically
from ..easymocap import UPS
from ..layout import LayoutError, opencv_camera, read_json
from .capture import Joints, Recording, plain_name, write_people
from .lmdb_file import LmdbFile
from .tensor_pickle import plain_value, tensor_value

_MAX_PIXELS = 1 << 26
_TIMES = 1_000_000  # frame numbers are below
_MASK = 128  # of a mask, where the person begins


@dataclass(frozen=True)
class Layout:
    """One of the two. middle: the folder between two others. points, world: databases of joints. up: the axis of its
    world, a key of UPS. stored: joints in a database; confident: whether with confidences. held_out: of a folder below
    the root. person: of a recording's name. ours: [stored, N] rows to those of the skeleton."""

    name: str
    skeleton: str
    middle: str
    points: str
    world: str
    up: str
    stored: int
    confident: bool
    background: tuple[int, int, int]
    held_out: Callable[[str], bool]
    person: Callable[[str], str]
    ours: Callable[[np.ndarray], np.ndarray]


_FEET, _OUTLINE, _PUPILS = range(19, 25), (*range(65, 70), *range(77, 82)), (133, 134)
_KEPT = [joint for joint in range(135) if joint not in (*_FEET, *_OUTLINE, *_PUPILS)]
_SHOULDERS, _HEAD = slice(5, 7), slice(1, 5)  # eyes and ears
_UNKNOWN = (
    *("171204_pose1/Subsequences/0", "171204_pose2/Subsequences/2", "171204_pose3/Subsequences/1"),
    *("171204_pose4/Subsequences/4", "171026_pose1/Subsequences/2", "171204_pose1/Subsequences/5"),
    *("171204_pose2/Subsequences/4", "171204_pose4/Subsequences/1"),
)  # recordings of people whom training never sees, as published


def _of_body135(joints: np.ndarray) -> np.ndarray:
    """117 of 135; the neck and the top of the head become the middles of shoulders, and of eyes and ears."""
    kept = joints[_KEPT].copy()
    for place, parts in ((17, _SHOULDERS), (18, _HEAD)):
        kept[place] = kept[parts].mean(0)
        kept[place, -1] = kept[parts, -1].min()
    return kept


LAYOUTS = (
    Layout(
        *(
            "Panoptic",
            "panoptic117",
            "Subsequences",
            "BODY_135",
            "BODY_135/Reconstructed",
            "-y",
            135,
            True,
            (126, 130, 108),
        ),
        lambda name: name in _UNKNOWN,
        lambda name: name,
        _of_body135,
    ),
    Layout(
        *("Human3.6M", "human36m17", "Sequences", "CPN", "Groundtruth", "z", 17, False, (244, 191, 175)),
        lambda name: name.split("/")[0] in ("S9", "S11"),
        lambda name: name.split("_")[0],
        lambda joints: joints,
    ),
)


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument(
        "root", type=Path, metavar="ROOT", help="folder of the data set, in the layout of its processing"
    )
    parser.add_argument("--output", type=Path, required=True, help="folder of the capture; goes on where it stopped")
    parser.add_argument("--every", type=int, default=1, help="take every so-manieth frame (default 1)")
    parser.add_argument("--test-cameras", metavar="A,B", default="", help="cameras to hold out, by name (default none)")
    parser.add_argument(
        "--test-share", type=float, default=0.1, help="share of each recording's end that is held out (default 0.1)"
    )


def run(arguments: Namespace) -> int:
    if arguments.every < 1 or not 0 <= arguments.test_share < 1:
        raise LayoutError("--every must be at least 1, --test-share from 0 to below 1")
    layout, folders = find_recordings(arguments.root)
    held = set(filter(None, arguments.test_cameras.split(",")))
    with tqdm(folders, unit="recording") as bar:
        recordings = [_convert(layout, folder, arguments, held) for folder in bar]
    background = layout.background
    made = write_people(arguments.output, layout.name, "unknown", layout.skeleton, background, recordings)
    frames = sum(len(recording.joints.frames) for recording in made.recordings)
    print(f"{arguments.output}: {len(made.people)} people, {len(made.recordings)} recordings, {frames} frames")
    return 0


def find_recordings(root: Path) -> tuple[Layout, list[Path]]:
    """Which of the layouts, and its folders with cameras. Raises LayoutError."""
    for layout in LAYOUTS:
        folders = sorted(path.parent for path in root.glob(f"*/{layout.middle}/*/cameras.json"))
        if folders:
            return layout, folders
    raise LayoutError(f"{root} holds neither Panoptic's */Subsequences/*/cameras.json nor Human3.6M's */Sequences/*/")


def _convert(layout: Layout, folder: Path, arguments: Namespace, held: set[str]) -> Recording:
    """One recording: its pictures are written, its joints returned."""
    person, _, act = folder.parts[-3:]
    name, databases = f"{person}_{act}", folder / "Databases"
    entries = read_json(folder / "cameras.json")
    named = [view for view in entries if plain_name(view)] if isinstance(entries, dict) else []
    views = [view for view in named if (databases / "Images" / f"{view}.lmdb").is_dir()]
    if not plain_name(name):
        raise LayoutError(f"{folder}: the names of its folders must be letters, digits, '_', '-' and '.'")
    if not views:
        raise LayoutError(f"{folder}: no camera of cameras.json has a database in Databases/Images")
    every, poses = arguments.every, databases / "Poses"
    world = read_joints(poses / "3D" / f"{layout.world}.lmdb", layout, 3, every)
    points = [read_joints(poses / "2D" / layout.points / f"{view}.lmdb", layout, 2, every) for view in views]
    frames = sorted(frame for frame in world if any(frame in of for of in points))
    if not frames:
        raise LayoutError(f"{folder}: no frame has joints both in the world and in a picture")
    target = arguments.output / name
    cameras, seen = [], np.zeros((len(views), len(frames)), bool)
    for place, view in enumerate(views):
        size, there = _pictures(databases, view, set(frames) & set(points[place]), target)
        camera = read_camera(folder / "cameras.json", view, entries[view], size, layout.up)
        cameras.append(CaptureCamera(view, camera, "test" if view in held else "train"))
        seen[place] = [frame in there for frame in frames]
    in_world = np.stack([world[frame] for frame in frames])
    unknown = np.zeros((in_world.shape[1], 3))
    in_pictures = np.stack([[of.get(frame, unknown) for frame in frames] for of in points])
    joints = Joints(
        frames=np.array(frames, np.int32),
        test=np.arange(len(frames)) >= round(len(frames) * (1 - arguments.test_share)),
        world=(in_world[..., :3] @ UPS[layout.up].T).astype(np.float32),
        world_confidence=in_world[..., 3].astype(np.float32),
        points=(in_pictures[..., :2] + 0.5).astype(np.float32),
        confidence=in_pictures[..., 2].astype(np.float32),
        seen=seen,
    )
    split = "test" if layout.held_out("/".join(folder.parts[-3:])) else "train"
    return Recording(target, name, layout.person(name), split, tuple(cameras), joints)


def read_camera(path: Path, view: str, data: Any, size: tuple[int, int], up: str) -> Camera:
    """size: of the pictures, since published files have width and height exchanged in places. Raises LayoutError."""
    where = f"{path}: camera '{view}'"
    try:
        K, R = (np.array(data[key], np.float64).reshape(3, 3) for key in ("K", "R"))
        t, distortion = np.array(data["t"], np.float64).reshape(3), np.array(data["dist_coef"], np.float64).reshape(-1)
    except (KeyError, TypeError, ValueError) as error:
        raise LayoutError(
            f"{where} needs K and R of 3 x 3 numbers, t of 3 and dist_coef of 4 or 5 ({error})"
        ) from error
    if not all(np.isfinite(part).all() for part in (K, R, t)):
        raise LayoutError(f"{where} holds NaN or infinity")
    world_to_camera = np.eye(4)
    world_to_camera[:3, :3], world_to_camera[:3, 3] = R @ UPS[up].T, t
    return opencv_camera(where, K, world_to_camera, size, distortion)


def read_joints(folder: Path, layout: Layout, axes: int, every: int) -> dict[int, np.ndarray]:
    """Joints [J, axes + 1] of the skeleton by frame: places and confidence. Raises LayoutError."""
    found = {}
    for frame, data in _by_frame(folder):
        if frame % every:
            continue
        try:
            value = tensor_value(data)
        except ValueError as error:
            raise LayoutError(f"{folder}: the joints of frame {frame} cannot be used: {error}") from error
        shape = (layout.stored, axes + int(layout.confident), 1)
        if value.shape != shape or not np.isfinite(value).all():
            raise LayoutError(
                f"{folder}: frame {frame} must have {' x '.join(map(str, shape))} finite numbers (a row a joint), "
                f"has {' x '.join(map(str, value.shape))}"
            )
        rows = value[..., 0] if layout.confident else np.concatenate([value[..., 0], np.ones((len(value), 1))], 1)
        found[frame] = layout.ours(rows)
    return found


def _pictures(databases: Path, view: str, wanted: set[int], target: Path) -> tuple[tuple[int, int], set[int]]:
    """Writes pictures and masks of the wanted frames; their width and height, and the frames that have both."""
    masks = {frame for frame, _ in _by_frame(databases / "Masks" / "SOLO" / f"{view}.lmdb")} & wanted
    size, there = (0, 0), set()
    for frame, data in _by_frame(databases / "Images" / f"{view}.lmdb"):
        if frame in masks:
            size = _decoded(data, f"{databases}/Images/{view}.lmdb: frame {frame}").size
            _write(target / "images" / view / f"{frame:06d}.jpg", data)
            there.add(frame)
    if not there:
        raise LayoutError(f"{databases}: view {view} has no frame with picture, mask and joints")
    for frame, data in _by_frame(databases / "Masks" / "SOLO" / f"{view}.lmdb"):
        path = target / "masks" / view / f"{frame:06d}.png"
        if frame in there and not path.exists():
            mask = _decoded(data, f"{databases}/Masks/SOLO/{view}.lmdb: frame {frame}").convert("L")
            buffer = io.BytesIO()
            mask.point(lambda value: 255 * (value >= _MASK)).convert("1").save(buffer, "PNG")
            _write(path, buffer.getvalue())
    return size, there


def _by_frame(folder: Path) -> Iterator[tuple[int, bytes]]:
    """The entries whose keys are numbers."""
    with LmdbFile(folder) as file:
        for key, value in file.items():
            if key != b"protocol":
                try:
                    frame = plain_value(key)
                except ValueError as error:
                    raise LayoutError(f"{folder}: a key cannot be used: {error}") from error
                if type(frame) is int and 0 <= frame < _TIMES:
                    yield frame, value


def _decoded(data: bytes, where: str) -> Image.Image:
    try:
        image = Image.open(io.BytesIO(data), formats=["JPEG", "PNG"])
        if image.width * image.height > _MAX_PIXELS:
            raise LayoutError(f"{where} has {image.width}x{image.height} pixels, more than any picture here")
        image.load()
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise LayoutError(f"{where} is no whole picture") from error
    return image


def _write(path: Path, data: bytes) -> None:
    if path.exists():
        return
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, data)
    except OSError as error:
        raise LayoutError(f"{path} cannot be written: {error.strerror or error}") from error
