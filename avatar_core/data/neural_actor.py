"""The folder that Neural Actor's released loader reads, checked file by file.

ROOT/canonical.obj, uvmapping.obj, skinning_weight.txt     the shaped rest mesh, its UV layout, its weights
ROOT/transform_tpose.json                                  optional second rest pose
ROOT/intrinsics.txt or intrinsic/*.txt, pose/*.txt or extrinsic/*.txt      cameras
ROOT/transform/*.json                                      one a frame: joint transforms, rotation, translation
ROOT/tex/*.png, rgb/FRAME/*.png|jpg                        textures and pictures, paired in order of their names

What differs from our conventions ends here: pixel centres at whole numbers (our K has cx, cy half a pixel larger),
camera-to-world poses, rotations stored transposed, joint transforms with the joint index last.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..camera import Camera
from ..controls import Controls
from .layout import PICTURES, LayoutError, opencv_camera, picture_size, read_json, read_picture, read_text, sorted_files
from .wavefront import read_wavefront

_WHITE = 250  # sRGB value above which a corner counts as white


@dataclass(frozen=True)
class ActorMesh:
    """The rest body. vertices: [V, 3] float32 metres. faces: [F, 3] int64. face_uv: [F, 3, 2] float32, v up.
    weights: [V, J] float32, rows sum to 1."""

    vertices: np.ndarray
    faces: np.ndarray
    face_uv: np.ndarray
    weights: np.ndarray


@dataclass(frozen=True)
class ActorFrame:
    """One moment. transforms: [J, 4, 4] rest to posed, without the global turn. A posed point x (row) lies in the world
    at x rotation + translation. joints: [J, 3] world metres. pose: [J, 3] axis-angle; the root is the global turn."""

    name: str
    transforms: np.ndarray
    rotation: np.ndarray
    translation: np.ndarray
    joints: np.ndarray
    pose: np.ndarray


@dataclass(frozen=True)
class NeuralActorFolder:
    """A checked folder. rest: [J, 4, 4] of the second rest pose, or None. white: the sRGB value from which a pixel of
    a picture without alpha is background. notes: what was corrected, in sentences."""

    folder: Path
    mesh: ActorMesh
    rest: np.ndarray | None
    cameras: tuple[Camera, ...]
    frames: tuple[ActorFrame, ...]
    textures: tuple[Path, ...]
    pictures: tuple[tuple[Path, ...], ...]
    white: int
    notes: tuple[str, ...]

    @classmethod
    def open(cls, folder: Path | str, size: tuple[int, int] | None = None) -> NeuralActorFolder:
        """Reads everything but pixels. size: width and height of the cameras' pictures where there is no rgb/.
        Raises LayoutError."""
        folder = Path(folder)
        if not folder.is_dir():
            raise LayoutError(f"{folder} is no folder")
        notes: list[str] = []
        mesh = _read_mesh(folder)
        joints = mesh.weights.shape[1]
        rest_file = folder / "transform_tpose.json"
        rest = _transforms(rest_file, _json(rest_file), joints) if rest_file.exists() else None
        frames = tuple(_frame(path, joints) for path in sorted_files(folder / "transform", (".json",)))
        if not frames:
            raise LayoutError(f"{folder / 'transform'} has no frame (*.json)")
        textures = tuple(sorted_files(folder / "tex", PICTURES))
        if textures and len(textures) != len(frames):
            raise LayoutError(
                f"{folder / 'tex'} has {len(textures)} textures for {len(frames)} frames of transform/; they are "
                f"paired in order, so one is missing or left over"
            )
        views = _views(folder)
        pictures = _pictures(folder, frames, len(views))
        white = 255
        if pictures:
            size = picture_size(pictures[0][0])
            white = _background(pictures[0][0], read_picture(pictures[0][0]))
        if white < 255:
            notes.append(
                f"{pictures[0][0]}: the background is not exactly white, so all pixels of {white} and more count as "
                f"background; the original takes them for the person"
            )
        if size is None and views:
            notes.append(f"{folder} has no rgb/ and no size was given: its cameras are left out")
        intrinsics = _intrinsics(folder, len(views), notes)
        cameras = tuple(opencv_camera(path, K, view, size) for (path, K), view in zip(intrinsics, views) if size)
        return cls(folder, mesh, rest, cameras, frames, textures, pictures, white, tuple(notes))

    def texture(self, frame: int) -> np.ndarray:
        """[H, W, 3] float32 in [0, 1], display sRGB, top row first. Raises LayoutError."""
        return read_picture(self.textures[frame])[..., :3].astype(np.float32) / 255

    def picture(self, frame: int, camera: int) -> np.ndarray:
        """[H, W, 4] uint8, display sRGB. A picture without alpha is full wherever it is not white. Raises
        LayoutError for another size or another background than the first picture has."""
        path, view = self.pictures[frame][camera], self.cameras[camera]
        image = read_picture(path)
        if image.shape[:2] != (view.height, view.width):
            raise LayoutError(f"{path} has {image.shape[1]}x{image.shape[0]} pixels, others {view.width}x{view.height}")
        if image.shape[2] == 4:
            return image
        _background(path, image)
        alpha = np.where((image < self.white).any(-1, keepdims=True), 255, 0).astype(np.uint8)
        return np.concatenate([image, alpha], 2)


def rest_joints(frames: Sequence[ActorFrame]) -> np.ndarray:
    """[J, 3] metres: the joint centres that the transforms turn about. The layout stores posed joints only; a joint and
    its transform belong to one rest centre, J = A^-1 [joint in the frame's space; 1], the same in all frames."""
    found = []
    for frame in frames:
        posed = (frame.joints - frame.translation) @ frame.rotation.T
        inverse = np.linalg.inv(frame.transforms)
        found.append((inverse[:, :3, :3] @ posed[..., None])[..., 0] + inverse[:, :3, 3])
    centres = np.median(found, axis=0)
    spread = np.abs(np.array(found) - centres).max()
    if spread > 0.01:
        raise LayoutError(f"the joints of transform/ do not belong to their transforms (they differ by {spread:.3f} m)")
    return centres


def smpl_controls(frames: Sequence[ActorFrame]) -> list[Controls]:
    """Frames in SMPL's controls: its root turns about the pelvis, the layout's about the origin."""
    pelvis = rest_joints(frames)[0]
    return [
        Controls(
            pose=frame.pose.astype(np.float32),
            transl=(frame.translation - pelvis + pelvis @ frame.rotation).astype(np.float32),
        )
        for frame in frames
    ]


def _read_mesh(folder: Path) -> ActorMesh:
    rest, mapping = (read_wavefront(folder / name, triangles=True) for name in ("canonical.obj", "uvmapping.obj"))
    if not len(rest.vertices):
        raise LayoutError(f"{folder / 'canonical.obj'} has no 'v' line")
    where = folder / "uvmapping.obj"
    if mapping.face_uv is None:
        raise LayoutError(f"{where} has no texture coordinates; its faces must be 'f v/vt v/vt v/vt'")
    if len(mapping.faces) != len(rest.faces):
        raise LayoutError(f"{where} has {len(mapping.faces)} faces, canonical.obj has {len(rest.faces)}")
    other = np.flatnonzero((mapping.faces != rest.faces).any(1))
    if len(other):
        line = mapping.face_lines[other[0]]
        raise LayoutError(f"{where}, line {line}: this face is another one in canonical.obj; keep its face order")
    face_uv = mapping.uv.astype(np.float32)[mapping.face_uv]
    return ActorMesh(rest.vertices.astype(np.float32), rest.faces, face_uv, _weights(folder, len(rest.vertices)))


def _weights(folder: Path, vertices: int) -> np.ndarray:
    path = folder / "skinning_weight.txt"
    rows = [row.split() for row in read_text(path).splitlines() if row.strip()]
    if len(rows) != vertices or len({len(row) for row in rows}) != 1:
        raise LayoutError(f"{path} must have a row of one length for each of the {vertices} vertices, has {len(rows)}")
    weights = _floats(path, rows)
    off = np.abs(weights.sum(1) - 1)
    if (weights < -1e-6).any() or off.max() > 1e-3:
        raise LayoutError(f"{path}, line {int(off.argmax()) + 1}: weights must be positive and sum to 1")
    return weights.astype(np.float32)


def _frame(path: Path, joints: int) -> ActorFrame:
    data = _json(path)
    transforms = _transforms(path, data, joints)
    rotation = _entry(path, data, "rotation", (3, 3))
    if np.abs(rotation @ rotation.T - np.eye(3)).max() > 1e-3 or np.linalg.det(rotation) < 0:
        raise LayoutError(f"{path}: 'rotation' is no rotation (orthonormal, determinant +1)")
    pose = _entry(path, data, "pose", (joints, 3))
    pose[0] = _rotation_vector(rotation.T)
    translation = _entry(path, data, "translation", (3,))
    return ActorFrame(path.stem, transforms, rotation, translation, _entry(path, data, "joints", (joints, 3)), pose)


def _transforms(path: Path, data: dict[str, Any], joints: int) -> np.ndarray:
    return np.ascontiguousarray(np.moveaxis(_entry(path, data, "joints_RT", (4, 4, joints)), 2, 0))


def _entry(path: Path, data: dict[str, Any], name: str, shape: tuple[int, ...]) -> np.ndarray:
    """A named array in float32's precision (as the loader reads it), float64."""
    try:
        value = np.asarray(data[name], np.float64).astype(np.float32).astype(np.float64)
    except (KeyError, TypeError, ValueError) as error:
        raise LayoutError(f"{path}: '{name}' is missing or not numbers") from error
    if value.size != int(np.prod(shape)) or not np.isfinite(value).all():
        raise LayoutError(f"{path}: '{name}' must be {shape} finite numbers, has shape {value.shape}")
    return value.reshape(shape)


def _rotation_vector(rotation: np.ndarray) -> np.ndarray:
    """Axis times angle, radians, of a rotation matrix."""
    from scipy.spatial.transform import Rotation

    return Rotation.from_matrix(rotation).as_rotvec()


def _views(folder: Path) -> list[np.ndarray]:
    """World-to-camera matrices; extrinsic/ wins over pose/ (camera to world)."""
    for name, invert in (("extrinsic", False), ("pose", True)):
        paths = sorted_files(folder / name, (".txt",))
        if paths:
            matrices = [_matrix(path) for path in paths]
            return [np.linalg.inv(matrix) if invert else matrix for matrix in matrices]
    return []


def _matrix(path: Path) -> np.ndarray:
    """A rigid 4x4 matrix from 4x4, 3x4 or 1x16 numbers."""
    values = _floats(path, [read_text(path).split()]).reshape(-1)
    if values.size not in (12, 16):
        raise LayoutError(f"{path} must hold a matrix of 12 or 16 numbers, has {values.size}")
    matrix = np.eye(4)
    matrix.reshape(-1)[: values.size] = values
    turn = matrix[:3, :3]
    if np.abs(turn @ turn.T - np.eye(3)).max() > 1e-3 or np.linalg.det(turn) < 0:
        raise LayoutError(f"{path}: the rotation is not orthonormal")
    return matrix


def _intrinsics(folder: Path, count: int, notes: list[str]) -> list[tuple[Path, np.ndarray]]:
    """File and K of each camera, as stored (pixel centres at whole numbers)."""
    for name in ("intrinsic", "intrinisc"):
        paths = sorted_files(folder / name, (".txt",))
        if paths:
            if name == "intrinisc":
                notes.append(f"{folder / name} is spelt wrong but used; the original ignores it, so rename it")
            if len(paths) != count:
                raise LayoutError(f"{folder / name} has {len(paths)} files for {count} cameras")
            return [(path, _K(path)) for path in paths]
    for name in ("intrinsics.txt", "intrinsic.txt"):
        if (folder / name).exists():
            return [(folder / name, _K(folder / name))] * count
    if count:
        raise LayoutError(f"{folder} has no intrinsics: neither intrinsic/*.txt nor intrinsics.txt")
    return []


def _K(path: Path) -> np.ndarray:
    """From 3x3 or 4x4 numbers, or a first line 'f cx cy _'; a line of two numbers is the size of the pictures."""
    rows = [words for line in read_text(path).splitlines() if len(words := line.split()) not in (0, 2)]
    count = sum(map(len, rows))
    if count in (9, 16):
        side = 3 if count == 9 else 4
        return _floats(path, [[word for words in rows for word in words]]).reshape(side, side)[:3, :3].copy()
    if rows and len(rows[0]) == 4:
        focal, cx, cy = _floats(path, [rows[0][:3]])[0]
        return np.array([[focal, 0, cx], [0, focal, cy], [0, 0, 1.0]])
    raise LayoutError(f"{path} must hold K as 3x3 or 4x4 numbers, or a line 'f cx cy _'; it has {count} numbers")


def _pictures(folder: Path, frames: tuple[ActorFrame, ...], cameras: int) -> tuple[tuple[Path, ...], ...]:
    root = folder / "rgb"
    if not root.is_dir():
        return ()
    found = []
    for frame in frames:
        paths = tuple(sorted_files(root / frame.name, PICTURES))
        if len(paths) != cameras:
            raise LayoutError(f"{root / frame.name} has {len(paths)} pictures for {cameras} cameras")
        found.append(paths)
    return tuple(found)


def _background(path: Path, image: np.ndarray) -> int:
    """The sRGB value from which pixels are background: 255, or a little less where that is what the corners have. A
    picture with alpha needs none. Raises LayoutError where no corner is white, which is both background and mask."""
    if image.shape[2] == 4:
        return 255
    corners = image[[0, 0, -1, -1], [0, -1, 0, -1]]
    white = (corners > _WHITE).all(1)
    if not white.any():
        raise LayoutError(f"{path}: the background is not white (corner {corners[0].tolist()}); mask it or add alpha")
    return int(corners[white].min())


def _floats(path: Path, rows: list[list[str]]) -> np.ndarray:
    """[R, C] finite float64. Raises LayoutError with the line."""
    try:
        values = np.array(rows, np.float64)
    except ValueError:
        values = np.array([[np.nan]])
    if np.isfinite(values).all():
        return values
    for index, row in enumerate(rows, 1):
        for word in row:
            if not re.fullmatch(r"[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?", word):
                raise LayoutError(f"{path}, line {index}: '{word}' is no number")
    raise LayoutError(f"{path} has a number that is not finite")


def _json(path: Path) -> dict[str, Any]:
    data = read_json(path)
    if not isinstance(data, dict):
        raise LayoutError(f"{path} must hold a JSON object")
    return data
