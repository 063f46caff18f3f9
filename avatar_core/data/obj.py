"""Scans as Wavefront OBJ files with a texture map, as THuman2.0 has them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from ..errors import AvatarError
from .wavefront import ObjError, read_bytes, read_wavefront

_MAX_TEXTURE = 16384  # pixels a side


class ScanError(AvatarError):
    """A scan that cannot be used; the sentence names the file."""


@dataclass(frozen=True, eq=False)
class TexturedMesh:
    """vertices: [V, 3] float32. faces: [F, 3] int64. corner_uv: [F, 3, 2] float32, v up; texture: [H, W, 3] uint8,
    row 0 at v = 1; both None without colours."""

    vertices: np.ndarray
    faces: np.ndarray
    corner_uv: np.ndarray | None = None
    texture: np.ndarray | None = None

    def colours(self, face: np.ndarray, bary: np.ndarray) -> np.ndarray:
        """Display sRGB [N, 3] in [0, 1] at faces [N] with barycentrics [N, 3], bilinear, of a mesh with a texture."""
        assert self.corner_uv is not None and self.texture is not None
        height, width = self.texture.shape[:2]
        uv = (self.corner_uv[face] * bary[..., None]).sum(1)
        x, y = uv[:, 0] * width - 0.5, (1 - uv[:, 1]) * height - 0.5
        left, top = np.floor(x), np.floor(y)
        total = np.zeros((len(face), 3))
        for dx, across in ((0, left + 1 - x), (1, x - left)):
            for dy, down in ((0, top + 1 - y), (1, y - top)):
                column = (left + dx).clip(0, width - 1).astype(np.int64)
                row = (top + dy).clip(0, height - 1).astype(np.int64)
                total += (across * down)[:, None] * self.texture[row, column]
        return (total / 255).astype(np.float32)


def read_obj(path: Path) -> TexturedMesh:
    """Vertices at one place become one, so that texture seams are no gaps. The map is that of the material library's
    `map_Kd`, in the same folder. Raises ObjError; ScanError for a map that cannot be used."""
    found = read_wavefront(path)
    if not len(found.vertices):
        raise ObjError(f"{path} holds no mesh: it needs lines 'v' and 'f'")
    merged, place = np.unique(found.vertices.astype(np.float32), axis=0, return_inverse=True)
    faces = place.reshape(-1)[found.faces]
    area = (faces != np.roll(faces, 1, 1)).all(1)
    if found.face_uv is None or not found.library:
        return TexturedMesh(merged, faces[area])
    texture = _texture(path, found.library)
    corner_uv = found.uv.astype(np.float32)[found.face_uv[area]] if texture is not None else None
    return TexturedMesh(merged, faces[area], corner_uv, texture)


def write_obj(folder: Path, name: str, mesh: TexturedMesh) -> None:
    """NAME.obj, and material0.mtl and material0.jpeg where there is a texture. Raises ScanError."""
    lines = [f"v {x:.6f} {y:.6f} {z:.6f}" for x, y, z in mesh.vertices.tolist()]
    faces = (mesh.faces + 1).tolist()
    if mesh.corner_uv is not None and mesh.texture is not None:
        lines = ["mtllib material0.mtl", *lines]
        lines += [f"vt {u:.6f} {v:.6f}" for u, v in mesh.corner_uv.reshape(-1, 2).tolist()]
        lines += ["usemtl material0"]
        lines += [f"f {a}/{3 * i + 1} {b}/{3 * i + 2} {c}/{3 * i + 3}" for i, (a, b, c) in enumerate(faces)]
    else:
        lines += [f"f {a} {b} {c}" for a, b, c in faces]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if mesh.texture is not None:
            (folder / "material0.mtl").write_text("newmtl material0\nmap_Kd material0.jpeg\n", encoding="utf-8")
            Image.fromarray(mesh.texture).save(folder / "material0.jpeg", quality=95, subsampling=0)
        (folder / f"{name}.obj").write_text("\n".join(lines) + "\n", encoding="utf-8")
    except OSError as error:
        raise ScanError(f"{folder} cannot be written: {error.strerror or error}") from error


def check_watertight(mesh: TexturedMesh, where: str) -> None:
    """Raises ScanError where the mesh has a border: then no point is inside or outside of it."""
    edges = np.concatenate([mesh.faces[:, [k, (k + 1) % 3]] for k in range(3)]).astype(np.int64)
    count = len(mesh.vertices)
    there, back = edges[:, 0] * count + edges[:, 1], edges[:, 1] * count + edges[:, 0]
    keys, sums = np.unique(there, return_counts=True)
    other = np.searchsorted(np.sort(back), [keys, keys + 1])
    open_edges = int((sums != other[1] - other[0]).sum())
    if open_edges:
        raise ScanError(
            f"{where} is not watertight: {open_edges} edges have a face on one side only, or faces that look different "
            "ways; close it first (MeshLab: 'Close Holes', or Poisson reconstruction)"
        )


def _texture(path: Path, library: str) -> np.ndarray | None:
    """None for materials without a map. Only files of the scan's own folder are read."""
    material = path.with_name(Path(library).name)
    for line in read_bytes(material).splitlines():
        word, _, rest = line.strip().partition(b" ")
        if word == b"map_Kd" and rest.split():
            picture = path.with_name(Path(rest.split()[-1].decode("utf-8", "replace")).name)
            try:
                with Image.open(picture, formats=["PNG", "JPEG"]) as image:
                    if max(image.size) > _MAX_TEXTURE:
                        raise ScanError(f"{picture} is larger than {_MAX_TEXTURE} pixels a side")
                    return np.asarray(image.convert("RGB"))
            except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
                raise ScanError(f"{picture} cannot be read: {error}") from error
    return None
