"""Pictures tracked by EasyMocap become a capture: `avatar import easymocap ROOT --body SMPL_NEUTRAL.pkl`.

ROOT/intri.yml                    names, and of each camera K_NAME 3x3, dist_NAME k1 k2 p1 p2 k3 (OpenCV's YAML)
ROOT/extri.yml                    Rot_NAME 3x3 or R_NAME (rotation vector), T_NAME metres: x_camera = R x + T
ROOT/images/NAME/000012.jpg       or .png
ROOT/mask/NAME/000012.png         the person is what is not 0 (also masks/; not needed where pictures have alpha)
ROOT/output/smpl/000012.json      [{"id", "Rh" 1x3, "Th" 1x3, "poses" 1x72, "shapes" 1x10}] a person (also
                                  output-smpl-3d/smpl/ or smpl/, also with {"annots": [...]} around the list)

What differs from our conventions ends here: pixel centres at whole numbers (our K has cx, cy half a pixel larger), a
world whose z is up (y here), and the global turn. EasyMocap's Rh and Th act on the posed body as a whole,
x = R(Rh) v + Th, about the model's origin; SMPL's root turns about the rest pelvis J0: x = R (v - J0) + J0 + t, so
t = Th - J0 + R J0. Where poses begin with a turn of the root P that is not zero, R = R(Rh) P in both.
"""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..body import Body, load_body
from ..camera import Camera
from ..controls import Controls
from .conversion import add_arguments as add_capture_arguments
from .conversion import write_capture
from .layout import (
    PICTURES,
    LayoutError,
    opencv_camera,
    picture_size,
    read_json,
    read_picture,
    read_text,
    sorted_files,
)

_TRACKS = ("output/smpl", "output-smpl-3d/smpl", "smpl")
_MASKS = ("mask", "masks")
BODY_JOINTS = 22  # that SMPL, SMPL-H and SMPL-X share; SMPL has two more, the others fingers
_PCA = {78: "hands", 87: "hands, jaw and eyes"}  # lengths of poses whose tail is no axis-angle
UPS = {
    "y": np.eye(3),
    "-y": np.diag([1.0, -1, -1]),
    "z": np.array([[1.0, 0, 0], [0, 0, 1], [0, -1, 0]]),
}  # which axis of the tracking is up: its rotation to a world with y up


@dataclass(frozen=True)
class Track:
    """One frame. rotation: [3, 3] and translation: [3], metres, of the posed body in the world. poses: [N, 3]
    axis-angle, the root's first. shapes: [B]."""

    name: str
    rotation: np.ndarray
    translation: np.ndarray
    poses: np.ndarray
    shapes: np.ndarray

    def turned(self, world: np.ndarray) -> Track:
        """In a world turned by [3, 3]."""
        return Track(self.name, world @ self.rotation, world @ self.translation, self.poses, self.shapes)

    def controls(self, body: Body) -> Controls:
        """For `body`, whose other joints stay at rest. Raises LayoutError for more shapes than it has."""
        from scipy.spatial.transform import Rotation

        betas = np.zeros(body.shapedirs.shape[2], np.float32)
        if len(np.trim_zeros(self.shapes, "b")) > len(betas):
            raise LayoutError(f"{self.name}.json has {len(self.shapes)} shapes, the body {len(betas)}: give its file")
        betas[: len(self.shapes)] = self.shapes[: len(betas)]
        pelvis = body.joints(betas)[0].astype(np.float64)
        turn = self.rotation @ Rotation.from_rotvec(self.poses[0]).as_matrix()
        pose = np.zeros((len(body.joint_names), 3), np.float32)
        shared = min(len(pose), len(self.poses)) if len(pose) == len(self.poses) else BODY_JOINTS
        pose[:shared] = self.poses[:shared]
        pose[0] = Rotation.from_matrix(turn).as_rotvec()
        transl = self.translation - pelvis + self.rotation @ pelvis
        return Controls(pose=pose, transl=transl.astype(np.float32), betas=betas)


@dataclass(frozen=True)
class EasyMocapFolder:
    """A checked folder: cameras by name, one track a frame, pictures and masks by frame and camera. notes: what was
    corrected, in sentences."""

    folder: Path
    cameras: dict[str, Camera]
    tracks: tuple[Track, ...]
    pictures: tuple[tuple[Path, ...], ...]
    masks: tuple[tuple[Path, ...], ...]
    notes: tuple[str, ...]

    @classmethod
    def open(cls, folder: Path | str, up: str = "z", person: int | None = None) -> EasyMocapFolder:
        """up: the axis of the tracking that is up, a key of UPS. person: their id, where several were tracked. The
        frames are those of the tracks. Reads everything but pixels. Raises LayoutError."""
        folder, notes = Path(folder), list[str]()
        if not folder.is_dir():
            raise LayoutError(f"{folder} is no folder")
        root = next((folder / name for name in _TRACKS if (folder / name).is_dir()), None)
        if root is None:
            raise LayoutError(f"{folder} has no tracked bodies: none of {', '.join(name + '/' for name in _TRACKS)}")
        tracks = read_tracks(root, person, notes)
        intri, extri = _storage(folder / "intri.yml"), _storage(folder / "extri.yml")
        names = _names(folder / "intri.yml", intri)
        pictures = [_files(folder / "images", names, track.name, PICTURES) for track in tracks]
        masks: list[tuple[Path, ...]] = []
        mask_root = next((folder / name for name in _MASKS if (folder / name).is_dir()), None)
        if mask_root is not None:
            masks = [_files(mask_root, names, track.name, (".png",)) for track in tracks]
        elif read_picture(pictures[0][0]).shape[2] != 4:
            raise LayoutError(f"{folder} has no mask/, and {pictures[0][0]} has no alpha: the person must be cut out")
        world = UPS[up]
        cameras = {
            name: _camera(folder, intri, extri, name, picture_size(path), world)
            for name, path in zip(names, pictures[0])
        }
        turned = tuple(track.turned(world) for track in tracks)
        return cls(folder, cameras, turned, tuple(pictures), tuple(masks), tuple(dict.fromkeys(notes)))

    def picture(self, frame: int, camera: int) -> np.ndarray:
        """[H, W, 4] uint8, display sRGB with straight alpha. Raises LayoutError."""
        path = self.pictures[frame][camera]
        image = read_picture(path)
        if not self.masks:
            return image
        mask = read_picture(self.masks[frame][camera])[..., :3].any(-1)
        if mask.shape != image.shape[:2]:
            raise LayoutError(f"{self.masks[frame][camera]} has another size than {path}")
        return np.concatenate([image[..., :3], np.where(mask, 255, 0).astype(np.uint8)[..., None]], 2)


def read_tracks(folder: Path, person: int | None = None, notes: list[str] | None = None) -> list[Track]:
    """The JSON files of a folder, by name, in the tracking's world; corrections are added to `notes`. Raises
    LayoutError."""
    tracks = [_track(path, person, [] if notes is None else notes) for path in sorted_files(folder, (".json",))]
    if not tracks:
        raise LayoutError(f"{folder} has no frame (*.json)")
    return tracks


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("folder", type=Path, help="with intri.yml, extri.yml, images/, mask/, output/smpl/")
    parser.add_argument("--body", type=Path, required=True, help="the SMPL file that was fitted (.npz or .pkl)")
    parser.add_argument("--up", choices=UPS, default="z", help="the tracking's axis that is up (default z)")
    parser.add_argument("--person", type=int, help="id, where several were tracked")
    add_capture_arguments(parser)


def run(arguments: Namespace) -> int:
    data, body = EasyMocapFolder.open(arguments.folder, arguments.up, arguments.person), load_body(arguments.body)
    for note in data.notes:
        print(f"note: {note}")
    controls = [track.controls(body) for track in data.tracks]
    indices = [int(track.name) for track in data.tracks]
    write_capture(arguments, data.folder.name, data.cameras, indices, controls, body, data.picture)
    return 0


def _storage(path: Path) -> dict[str, Any]:
    """A file of OpenCV's FileStorage; matrices as arrays. Raises LayoutError."""
    import yaml

    class Loader(yaml.SafeLoader):
        pass

    def matrix(loader: Any, node: Any) -> np.ndarray:
        entry = loader.construct_mapping(node, deep=True)
        return np.array(entry["data"], np.float64).reshape(int(entry["rows"]), int(entry["cols"]))

    Loader.add_constructor("tag:yaml.org,2002:opencv-matrix", matrix)
    lines = read_text(path).splitlines()
    if lines and lines[0].startswith("%YAML"):
        lines[0] = ""  # OpenCV's "%YAML:1.0" is no directive of YAML
    try:
        data = yaml.load("\n".join(lines), Loader)
    except (yaml.YAMLError, KeyError, TypeError, ValueError, RecursionError) as error:
        raise LayoutError(f"{path} is no file of OpenCV's: {' '.join(str(error).split())}") from error
    if not isinstance(data, dict):
        raise LayoutError(f"{path} holds no cameras")
    return data


def _names(path: Path, data: dict[str, Any]) -> list[str]:
    names = data.get("names")
    if not isinstance(names, list) or not names:
        raise LayoutError(f"{path}: 'names' must be a list of cameras")
    return [str(name) for name in names]


def _matrix(path: Path, data: dict[str, Any], name: str, *sizes: int) -> np.ndarray:
    value = data.get(name)
    if not isinstance(value, np.ndarray) or value.size not in sizes or not np.isfinite(value).all():
        found = "it is missing" if value is None else f"has {np.size(value)}"
        raise LayoutError(f"{path}: '{name}' must have {' or '.join(map(str, sizes))} numbers, {found}")
    return value


def _camera(
    folder: Path, intri: dict[str, Any], extri: dict[str, Any], name: str, size: tuple[int, int], world: np.ndarray
) -> Camera:
    from scipy.spatial.transform import Rotation

    inner, outer = folder / "intri.yml", folder / "extri.yml"
    K = _matrix(inner, intri, f"K_{name}", 9).reshape(3, 3)
    key = f"dist_{name}" if f"dist_{name}" in intri else f"D_{name}"
    lens = _matrix(inner, intri, key, 4, 5).reshape(-1) if key in intri else np.zeros(0)
    if f"Rot_{name}" in extri:
        rotation = _matrix(outer, extri, f"Rot_{name}", 9).reshape(3, 3)
    else:
        rotation = Rotation.from_rotvec(_matrix(outer, extri, f"R_{name}", 3).reshape(3)).as_matrix()
    if np.abs(rotation @ rotation.T - np.eye(3)).max() > 1e-3 or np.linalg.det(rotation) < 0:
        raise LayoutError(f"{outer}: 'Rot_{name}' is no rotation (orthonormal, determinant +1)")
    view = np.eye(4)
    view[:3, :3] = rotation @ world.T
    view[:3, 3] = _matrix(outer, extri, f"T_{name}", 3).reshape(3)
    return opencv_camera(f"{inner}, camera '{name}'", K, view, size, lens if lens.any() else None)


def _track(path: Path, person: int | None, notes: list[str]) -> Track:
    if not path.stem.isdigit():
        raise LayoutError(f"{path}: the name must be the frame's number")
    people = read_json(path)
    if isinstance(people, dict) and isinstance(people.get("annots"), list):
        people = people["annots"]
    if not isinstance(people, list) or not all(isinstance(one, dict) for one in people):
        raise LayoutError(f"{path} must hold a list of people")
    chosen = [one for one in people if person is None or one.get("id") == person]
    if len(chosen) != 1:
        ids = ", ".join(str(one.get("id")) for one in people) or "nobody"
        raise LayoutError(f"{path} has {ids}; name one person that all frames have by --person")
    from scipy.spatial.transform import Rotation

    poses = _entry(path, chosen[0], "poses")
    if poses.size == 69:
        poses = np.concatenate([np.zeros(3), poses])
    if poses.size in _PCA:
        notes.append(f"{path.parent}: {_PCA[poses.size]} are kept at rest, as EasyMocap stores no angles of them")
        poses = poses[: 3 * BODY_JOINTS]
    if poses.size % 3 or poses.size < 3 * BODY_JOINTS:
        raise LayoutError(f"{path}: 'poses' must have 72 numbers (78, 87 for SMPL-H and SMPL-X), has {poses.size}")
    return Track(
        path.stem,
        Rotation.from_rotvec(_entry(path, chosen[0], "Rh", 3)).as_matrix(),
        _entry(path, chosen[0], "Th", 3),
        poses.reshape(-1, 3),
        _entry(path, chosen[0], "shapes"),
    )


def _entry(path: Path, data: dict[str, Any], name: str, size: int | None = None) -> np.ndarray:
    try:
        value = np.asarray(data[name], np.float64).reshape(-1)
    except (KeyError, TypeError, ValueError) as error:
        raise LayoutError(f"{path}: '{name}' is missing or not numbers") from error
    if (size is not None and value.size != size) or value.size > 1000 or not np.isfinite(value).all():
        raise LayoutError(f"{path}: '{name}' must be {size or 'some'} finite numbers, has {value.size}")
    return value


def _files(root: Path, names: Sequence[str], frame: str, endings: tuple[str, ...]) -> tuple[Path, ...]:
    """The file of each camera for a frame. Raises LayoutError."""
    found = []
    for name in names:
        path = next((path for end in endings if (path := root / name / f"{frame}{end}").is_file()), None)
        if path is None:
            raise LayoutError(f"{root / name} has no {frame}{endings[0]}, but frame {frame} is tracked")
        found.append(path)
    return tuple(found)
