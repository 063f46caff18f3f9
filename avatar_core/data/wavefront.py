"""Wavefront OBJ files as scans, tracked heads and released bodies have them: vertices, texture coordinates, faces."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

import numpy as np

from ..errors import AvatarError

_MAX_BYTES = 1 << 30
_WIDTHS = {b"v": 3, b"vt": 2}  # numbers of a line that count; colours and weights behind them do not
_CORNER = re.compile(rb"\d{1,18}(/(\d{1,18})?){0,2}")


class ObjError(AvatarError):
    """An OBJ file that cannot be used; the sentence names file and line."""


@dataclass(frozen=True, eq=False)
class ObjFile:
    """vertices: [V, 3] float64; V may be 0. uv: [T, 2] float64, v up. faces: [F, 3] int64; polygons are fans of
    triangles. face_uv: [F, 3] int64, or None where faces name no texture coordinates. vertex_lines: [V] and face_lines:
    [F], their lines in the file, from 1. library: what `mtllib` names, or empty."""

    vertices: np.ndarray
    uv: np.ndarray
    faces: np.ndarray
    face_uv: np.ndarray | None
    vertex_lines: np.ndarray
    face_lines: np.ndarray
    library: str


def read_wavefront(path: Path, triangles: bool = False) -> ObjFile:
    """triangles: other polygons are refused. Indices are checked, against vertices where there are some. Raises
    ObjError."""
    words: dict[bytes, list[bytes]] = {kind: [] for kind in _WIDTHS}
    lines: dict[bytes, list[int]] = {kind: [] for kind in _WIDTHS}
    corners: list[bytes] = []
    face_lines: list[int] = []
    library = b""
    for number, line in enumerate(read_bytes(path).splitlines(), 1):
        kind, *rest = line.split() or [b""]
        if kind in _WIDTHS:
            if len(rest) < _WIDTHS[kind]:
                _refuse(path, number, f"'{kind.decode()}' needs {_WIDTHS[kind]} numbers, has {len(rest)}")
            words[kind] += rest[: _WIDTHS[kind]]
            lines[kind].append(number)
        elif kind == b"f":
            if len(rest) < 3 or (triangles and len(rest) > 3):
                _refuse(path, number, f"a face must be a {'triangle' if triangles else 'polygon'} 'f v/vt v/vt v/vt'")
            for k in range(1, len(rest) - 1):
                corners += rest[0], rest[k], rest[k + 1]
                face_lines.append(number)
        elif kind == b"mtllib":
            library = line.split(None, 1)[-1].strip()
    if not corners:
        raise ObjError(f"{path} holds no mesh: it needs lines 'v' and 'f'")
    vertices, uv = (_numbers(path, words[kind], lines[kind]) for kind in _WIDTHS)
    faces, face_uv = _indices(path, corners, face_lines)
    for table, count, what in ((faces, len(vertices), "vertices"), (face_uv, len(uv), "texture coordinates")):
        outside = (table < 0) | (table >= count) if table is not None and (count or what != "vertices") else None
        if outside is not None and outside.any():
            _refuse(path, face_lines[int(outside.any(1).argmax())], f"a face points outside of its {count} {what}")
    return ObjFile(vertices, uv, faces, face_uv, np.array(lines[b"v"]), np.array(face_lines), library.decode("latin-1"))


def read_bytes(path: Path) -> bytes:
    """Raises ObjError."""
    try:
        if path.stat().st_size > _MAX_BYTES:
            raise ObjError(f"{path} is larger than any mesh here")
        return path.read_bytes()
    except FileNotFoundError as error:
        raise ObjError(f"{path} is missing") from error
    except OSError as error:
        raise ObjError(f"{path} cannot be read: {error.strerror or error}") from error


def _numbers(path: Path, words: list[bytes], lines: list[int]) -> np.ndarray:
    """[N, C] finite float64, C words in each of N lines."""
    try:
        values = np.array(words, "S").astype(np.float64)
    except ValueError:
        values = np.array([_number(word) for word in words])
    bad = np.flatnonzero(~np.isfinite(values))
    width = len(words) // len(lines) if lines else 1
    if len(bad):
        _refuse(path, lines[bad[0] // width], f"'{words[bad[0]].decode('utf-8', 'replace')[:60]}' is no number")
    return values.reshape(len(lines), width)


def _number(word: bytes) -> float:
    try:
        return float(word)
    except ValueError:
        return float("nan")


def _indices(path: Path, corners: list[bytes], lines: list[int]) -> tuple[np.ndarray, np.ndarray | None]:
    """Vertices and texture coordinates [F, 3], from 0, of corners such as 7, 7/3, 7//5 or 7/3/5, all of one kind."""
    slashes, bare = corners[0].count(b"/"), b"//" in corners[0]
    if any(corner.count(b"/") != slashes or (b"//" in corner) != bare for corner in corners):
        raise ObjError(f"{path}: its faces name texture coordinates and normals in several ways")
    try:
        numbers = b" ".join(corners).replace(b"//", b"/0/").replace(b"/", b" ").split()
        table = np.array(numbers, "S").astype(np.int64).reshape(len(corners), slashes + 1) - 1
    except (ValueError, OverflowError):
        bad = next((i for i, corner in enumerate(corners) if not _CORNER.fullmatch(corner)), 0)
        _refuse(path, lines[bad // 3], f"'{corners[bad].decode('utf-8', 'replace')[:60]}' is no corner of a face")
    return table[:, 0].reshape(-1, 3), table[:, 1].reshape(-1, 3) if slashes and not bare else None


def _refuse(path: Path, line: int, why: str) -> NoReturn:
    raise ObjError(f"{path}, line {line}: {why}")
