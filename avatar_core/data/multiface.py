"""The folder of an identity as Multiface has it (Wuu et al. 2022) and NPVA's released code prepares it.

ROOT/frame_list.txt                            a line 'SEQUENCE FRAME' each
ROOT/KRT                                       a name, K in 3 lines, distortion, [R|t] in 3 lines, an empty line
ROOT/images/SEQUENCE/CAMERA/FRAME.png          all of one size, for which K is
ROOT/unwrapped_uv_1024/SEQUENCE/average/FRAME.png
ROOT/tracked_mesh/SEQUENCE/FRAME.obj           in the world, with texture coordinates; one topology
ROOT/tracked_mesh/SEQUENCE/FRAME.bin           the same vertices in the head's frame, float32
ROOT/tracked_mesh/SEQUENCE/FRAME_transform.txt 3 x 4, head to world
ROOT/test_list.txt, ROOT/test_cameras.txt      optional, ours: frames and cameras that are held out
ROOT/expressions.txt                           optional, ours: a line of names, then SEQUENCE FRAME COEFFICIENTS

and what `avatar prepare-head` adds, in gendir/: posMean.npy, posVar.txt, posMap/SEQUENCE/FRAME.npy,
depths/SEQUENCE/CAMERA/FRAME.npz (sparse, metres) and rast_mask/SEQUENCE/CAMERA/FRAME.npy.

All lengths are millimetres; cameras have OpenCV's axes; heads are y down, facing -z. Distortion is ignored, as by the
released code: Multiface's pictures are undistorted.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from zipfile import BadZipFile

import numpy as np
from PIL import Image

from ..errors import AvatarError
from .wavefront import ObjFile, read_wavefront

TEXTURE = 1024  # pixels a side
_MAX_BYTES = 1 << 28
_MAX_SIDE = 8192
_MAX_VERTICES = 1 << 20
_FAR = 1000.0  # mm: no head is so large
_KRT_LINES = (3, 3, 3, 5, 4, 4, 4)  # numbers in the lines of a camera after its name
_RIGID = 1e-2


class MultifaceError(AvatarError):
    """A folder that cannot be used; the sentence names the file and the line."""


@dataclass(frozen=True)
class Moment:
    """A frame of a sequence, by its names on disk."""

    sequence: str
    frame: str

    def __str__(self) -> str:
        return f"{self.sequence} {self.frame}"


@dataclass(frozen=True)
class Viewpoint:
    """K: [3, 3] pixels. view: [3, 4] mm, world to camera."""

    K: np.ndarray
    view: np.ndarray


@dataclass(frozen=True)
class Topology:
    """What all meshes share. faces: [F, 3] int64. corner_uv: [F, 3, 2] float32, v up. count: of vertices."""

    faces: np.ndarray
    corner_uv: np.ndarray
    count: int


@dataclass(frozen=True)
class Identity:
    """An opened folder."""

    folder: Path
    viewpoints: dict[str, Viewpoint]
    moments: tuple[Moment, ...]

    @classmethod
    def open(cls, folder: Path | str, listed: Path | None = None) -> Identity:
        """Reads cameras and the list of frames, and sees that each frame has a mesh and a picture of every camera.
        listed: a list instead of frame_list.txt. Raises MultifaceError."""
        folder = Path(folder)
        identity = cls(folder, read_krt(folder / "KRT"), read_frames(listed or folder / "frame_list.txt"))
        identity._check(listed or folder / "frame_list.txt")
        return identity

    @cached_property
    def cameras(self) -> tuple[str, ...]:
        """Names of those that have pictures."""
        rooms = self.folder / "images" / self.moments[0].sequence
        found = sorted(path.name for path in rooms.iterdir() if path.is_dir()) if rooms.is_dir() else []
        if not found:
            raise MultifaceError(f"{rooms} holds no folder of a camera")
        for name in found:
            if name not in self.viewpoints:
                raise MultifaceError(f"{self.folder / 'KRT'} has no camera '{name}', which {rooms / name} is of")
        return tuple(found)

    @cached_property
    def size(self) -> tuple[int, int]:
        """Width and height of all pictures. Raises MultifaceError."""
        path = self.image_path(self.moments[0], self.cameras[0])
        return _open_picture(path).size

    @cached_property
    def topology(self) -> Topology:
        """Of the first frame's mesh. Raises MultifaceError."""
        path = self.mesh_path(self.moments[0])
        mesh = read_mesh(path)
        if mesh.face_uv is None:
            raise MultifaceError(f"{path} has no texture coordinates; faces must be 'f v/vt v/vt v/vt'")
        return Topology(mesh.faces, mesh.uv.astype(np.float32)[mesh.face_uv], len(mesh.vertices))

    def vertices(self, moment: Moment) -> np.ndarray:
        """[V, 3] float64 in the head's frame: of FRAME.bin, else of FRAME.obj by its transform. Raises
        MultifaceError for other topologies and for vertices far from the head."""
        path = self.mesh_path(moment)
        packed, count = path.with_suffix(".bin"), self.topology.count
        if packed.is_file():
            if packed.stat().st_size != 12 * count:
                raise MultifaceError(
                    f"{packed} has {packed.stat().st_size} bytes, not those of {count} vertices as "
                    f"{self.mesh_path(self.moments[0])}: its mesh has another topology"
                )
            vertices = np.fromfile(packed, "<f4").reshape(-1, 3).astype(np.float64)
            _check_vertices(packed, vertices, "vertex")
            return vertices
        mesh = read_mesh(path)
        if len(mesh.vertices) != count or not np.array_equal(mesh.faces, self.topology.faces):
            raise MultifaceError(
                f"{path} has {len(mesh.vertices)} vertices and {len(mesh.faces)} faces, not the topology of "
                f"{self.mesh_path(self.moments[0])} ({count} and {len(self.topology.faces)})"
            )
        transform = self.transform(moment)
        return (mesh.vertices - transform[:, 3]) @ transform[:, :3]

    def transform(self, moment: Moment) -> np.ndarray:
        """[3, 4], head to world. Raises MultifaceError."""
        path = self.mesh_path(moment).with_name(f"{moment.frame}_transform.txt")
        rows = [_numbers(path, number, line, 4) for number, line in _lines(path)[:3]]
        if len(rows) != 3:
            raise MultifaceError(f"{path} must have 3 lines of 4 numbers")
        return _rigid(np.array(rows), str(path))

    def expressions(self) -> tuple[tuple[str, ...], dict[Moment, np.ndarray]] | None:
        """Names and each frame's coefficients [K] float32, where there are some. Raises MultifaceError."""
        path = self.folder / "expressions.txt"
        if not path.is_file():
            return None
        (_, first), *rest = _lines(path) or [(0, "")]
        names = tuple(first.split())
        found = {}
        for number, line in rest:
            sequence, frame, *values = line.split() + [""] * max(0, 2 - len(line.split()))
            found[Moment(sequence, frame)] = np.array(_numbers(path, number, " ".join(values), len(names)), np.float32)
        for moment in self.moments:
            if moment not in found:
                raise MultifaceError(f"{path} has no line '{moment}', a frame that the list names")
        return names, found

    def image(self, moment: Moment, camera: str, size: tuple[int, int] | None = None) -> np.ndarray:
        """[H, W, 3] uint8; size: width and height, averaged down. Raises MultifaceError."""
        path = self.image_path(moment, camera)
        with _open_picture(path) as picture:
            if picture.size != self.size:
                raise MultifaceError(f"{path} has {_times(picture.size)} pixels, others have {_times(self.size)}")
            return _pixels(path, picture, size)

    def texture(self, moment: Moment) -> np.ndarray:
        """[1024, 1024, 3] uint8, v = 1 in the top row. Raises MultifaceError."""
        path = self.texture_path(moment)
        with _open_picture(path) as picture:
            if picture.size != (TEXTURE, TEXTURE):
                raise MultifaceError(f"{path} has {_times(picture.size)} pixels, not {_times((TEXTURE, TEXTURE))}")
            return _pixels(path, picture, None)

    def mask(self, moment: Moment, camera: str) -> np.ndarray:
        """[H, W] bool: where the tracked mesh is seen. Raises MultifaceError, also where it is nowhere."""
        path = self.mask_path(moment, camera)
        found = read_array(path, (self.size[1], self.size[0]), "b")
        if not found.any():
            raise MultifaceError(f"{path} is empty: camera '{camera}' does not see the head; check it in KRT")
        return found

    def depth(self, moment: Moment, camera: str) -> np.ndarray:
        """[H, W] float32, mm, 0 where unknown. Raises MultifaceError."""
        return 1000 * read_depth(self.depth_path(moment, camera), (self.size[1], self.size[0]))

    def image_path(self, moment: Moment, camera: str) -> Path:
        return self.folder / "images" / moment.sequence / camera / f"{moment.frame}.png"

    def mesh_path(self, moment: Moment) -> Path:
        return self.folder / "tracked_mesh" / moment.sequence / f"{moment.frame}.obj"

    def texture_path(self, moment: Moment) -> Path:
        return self.folder / f"unwrapped_uv_{TEXTURE}" / moment.sequence / "average" / f"{moment.frame}.png"

    def map_path(self, moment: Moment) -> Path:
        return self.folder / "gendir" / "posMap" / moment.sequence / f"{moment.frame}.npy"

    def depth_path(self, moment: Moment, camera: str) -> Path:
        return self.folder / "gendir" / "depths" / moment.sequence / camera / f"{moment.frame}.npz"

    def mask_path(self, moment: Moment, camera: str) -> Path:
        return self.folder / "gendir" / "rast_mask" / moment.sequence / camera / f"{moment.frame}.npy"

    def _check(self, listed: Path) -> None:
        for line, moment in enumerate(self.moments, 1):
            for path in (self.mesh_path(moment), *(self.image_path(moment, name) for name in self.cameras)):
                if not path.is_file():
                    raise MultifaceError(
                        f"{listed}, frame {line} ({moment}): {path} is missing; download it, or take the frame out"
                    )


def read_krt(path: Path) -> dict[str, Viewpoint]:
    """Cameras by name. Raises MultifaceError with the line."""
    found: dict[str, Viewpoint] = {}
    lines = _lines(path)
    for start in range(0, len(lines), 8):
        block = lines[start : start + 8]
        first, name = block[0][0], block[0][1].strip()
        if len(block) < 8:
            raise MultifaceError(f"{path}, line {first}: camera '{name[:40]}' has {len(block) - 1} lines of 7")
        _check_name(path, first, name)
        if name in found:
            raise MultifaceError(f"{path}, line {first}: camera '{name}' is there twice")
        rows = [_numbers(path, line, text, count) for (line, text), count in zip(block[1:], _KRT_LINES, strict=True)]
        K, view = np.array(rows[:3]), np.array(rows[4:])
        if not (K[0, 0] > 0 and K[1, 1] > 0) or np.abs(K[2] - (0, 0, 1)).max() > 1e-6:
            raise MultifaceError(f"{path}, line {first + 1}: K of '{name}' needs positive focal lengths and 0 0 1")
        found[name] = Viewpoint(K, _rigid(view, f"{path}, line {first + 5}"))
    if not found:
        raise MultifaceError(f"{path} holds no camera")
    return found


def read_frames(path: Path) -> tuple[Moment, ...]:
    """The frames of a list. Raises MultifaceError with the line."""
    moments = []
    for number, line in _lines(path):
        words = line.split()
        if len(words) != 2:
            raise MultifaceError(f"{path}, line {number}: must be 'SEQUENCE FRAME', got {line.strip()[:60]!r}")
        for word in words:
            _check_name(path, number, word)
        moments.append(Moment(*words))
    if not moments:
        raise MultifaceError(f"{path} names no frame")
    if len(set(moments)) != len(moments):
        raise MultifaceError(f"{path} names a frame twice")
    return tuple(moments)


def read_names(path: Path) -> tuple[str, ...]:
    """A name a line. Raises MultifaceError."""
    for number, line in _lines(path):
        _check_name(path, number, line.strip())
    return tuple(line.strip() for _, line in _lines(path))


def read_mesh(path: Path) -> ObjFile:
    """Of triangles. Raises ObjError, and MultifaceError for vertices far from the head; both name the line."""
    found = read_wavefront(path, triangles=True)
    if not 0 < len(found.vertices) <= _MAX_VERTICES:
        raise MultifaceError(f"{path} has {len(found.vertices)} vertices, not 1 to {_MAX_VERTICES}")
    _check_vertices(path, found.vertices, "line", found.vertex_lines)
    return found


def read_array(path: Path, shape: tuple[int, ...], kind: str) -> np.ndarray:
    """An array of a shape and NumPy kind. Raises MultifaceError."""
    try:
        stored = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise MultifaceError(f"{path} cannot be read; 'avatar prepare-head' writes it") from error
    if not isinstance(stored, np.ndarray) or stored.shape != shape or stored.dtype.kind != kind:
        raise MultifaceError(f"{path} must hold {_times(shape)} values of kind '{kind}'")
    return np.array(stored)


def read_depth(path: Path, shape: tuple[int, int]) -> np.ndarray:
    """[H, W] float32 metres, 0 where unknown, of sparse coordinates. Raises MultifaceError."""
    try:
        if path.stat().st_size > _MAX_BYTES:
            raise MultifaceError(f"{path} is larger than any depth map")
        with np.load(path, allow_pickle=False) as stored:
            if sum(part.file_size for part in stored.zip.infolist()) > _MAX_BYTES:
                raise MultifaceError(f"{path} unpacks to more than any depth map")
            data, coords = stored["data"], stored["coords"]
            declared = tuple(int(side) for side in stored["shape"])
    except (OSError, ValueError, EOFError, KeyError, BadZipFile) as error:
        raise MultifaceError(f"{path} cannot be read as a sparse depth map; 'avatar prepare-head' writes it") from error
    if declared != (*shape, 1) or data.ndim != 1 or data.dtype.kind != "f" or coords.shape != (3, len(data)):
        raise MultifaceError(f"{path} must be a sparse map of {_times((*shape, 1))}, says {_times(declared)}")
    if len(data) and (coords.min() < 0 or (coords.max(1) >= declared).any() or not np.isfinite(data).all()):
        raise MultifaceError(f"{path} has depths outside of the picture, or that are no numbers")
    depth = np.zeros(shape, np.float32)
    depth[coords[0].astype(np.int64), coords[1].astype(np.int64)] = data
    return depth


def write_depth(path: Path, depth: np.ndarray) -> None:
    """depth: [H, W] metres, 0 where unknown; in the layout of the package `sparse`."""
    rows, columns = np.nonzero(depth)
    coords = np.stack([rows, columns, np.zeros_like(rows)]).astype(np.uint16)
    values = depth[rows, columns].astype(np.float32)
    np.savez_compressed(path, data=values, coords=coords, shape=np.array([*depth.shape, 1]), fill_value=np.float32(0))


def _check_vertices(path: Path, vertices: np.ndarray, what: str, lines: np.ndarray | None = None) -> None:
    distance = np.linalg.norm(np.nan_to_num(vertices, nan=np.inf, posinf=np.inf) - np.median(vertices, axis=0), axis=1)
    bad = np.flatnonzero(~(distance < _FAR))
    if len(bad):
        place = lines[bad[0]] if lines is not None else bad[0]
        raise MultifaceError(
            f"{path}, {what} {place}: the vertex {np.round(vertices[bad[0]], 1).tolist()} is more than "
            f"{_FAR / 1000:g} m from the head; track the frame again, or take it out of the list"
        )


def _rigid(transform: np.ndarray, where: str) -> np.ndarray:
    """[3, 4] with its rotation made exact."""
    turn = transform[:, :3]
    if np.abs(turn @ turn.T - np.eye(3)).max() > _RIGID or np.linalg.det(turn) < 0:
        raise MultifaceError(f"{where}: the first three columns are no rotation")
    u, _, v = np.linalg.svd(turn)
    return np.concatenate([u @ v, transform[:, 3:]], 1)


def _check_name(path: Path, line: int, name: str) -> None:
    if not re.fullmatch(r"\w[\w.\-+()]{0,199}", name):
        raise MultifaceError(f"{path}, line {line}: {name[:60]!r} is no name of a folder or file")


def _numbers(path: Path, line: int, text: str, count: int) -> list[float]:
    words = text.split()
    try:
        values = [float(word) for word in words]
    except ValueError:
        values = []
    if len(values) != count or not np.isfinite(values).all():
        raise MultifaceError(f"{path}, line {line}: needs {count} numbers, got {text.strip()[:60]!r}")
    return values


def _lines(path: Path) -> list[tuple[int, str]]:
    """Lines that are not empty, with their numbers. Raises MultifaceError."""
    try:
        if path.stat().st_size > _MAX_BYTES:
            raise MultifaceError(f"{path} is larger than any such file")
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError as error:
        raise MultifaceError(f"{path} is missing") from error
    except (OSError, UnicodeDecodeError) as error:
        raise MultifaceError(f"{path} cannot be read: {getattr(error, 'strerror', None) or 'it is no text'}") from error
    return [(number, line) for number, line in enumerate(text.splitlines(), 1) if line.strip()]


def _open_picture(path: Path) -> Image.Image:
    try:
        picture = Image.open(path, formats=["PNG"])
    except FileNotFoundError as error:
        raise MultifaceError(f"{path} is missing") from error
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise MultifaceError(f"{path} is damaged or no PNG picture: {error}") from error
    if max(picture.size) > _MAX_SIDE:
        raise MultifaceError(f"{path} has {_times(picture.size)} pixels, more than any picture here")
    return picture


def _pixels(path: Path, picture: Image.Image, size: tuple[int, int] | None) -> np.ndarray:
    try:
        colours = picture.convert("RGB")
    except (OSError, SyntaxError, ValueError) as error:
        raise MultifaceError(f"{path} is damaged: {error}") from error
    return np.asarray(colours if size in (None, colours.size) else colours.resize(size, Image.Resampling.BOX))


def _times(sides: tuple[int, ...]) -> str:
    return " x ".join(map(str, sides))
