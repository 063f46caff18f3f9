"""Meshes as files: PLY with vertex colours, which Blender and every mesh viewer read."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from .errors import AvatarError


@dataclass(frozen=True)
class Mesh:
    """vertices: [V, 3] float32 metres, y up. faces: [F, 3] int32, counter-clockwise from outside. colours: [V, 3]
    float32 display sRGB in [0, 1]."""

    vertices: np.ndarray
    faces: np.ndarray
    colours: np.ndarray


def write_ply(path: Path, mesh: Mesh) -> None:
    """Binary PLY; written beside and renamed. Raises AvatarError."""
    header = "\n".join(
        [
            "ply",
            "format binary_little_endian 1.0",
            "comment metres, y up; colours are sRGB",
            f"element vertex {len(mesh.vertices)}",
            *(f"property float {axis}" for axis in "xyz"),
            *(f"property uchar {channel}" for channel in ("red", "green", "blue")),
            f"element face {len(mesh.faces)}",
            "property list uchar int vertex_indices",
            "end_header\n",
        ]
    )
    vertices = np.empty(len(mesh.vertices), [("place", "<f4", 3), ("colour", "u1", 3)])
    vertices["place"], vertices["colour"] = mesh.vertices, np.round(np.clip(mesh.colours, 0, 1) * 255)
    faces = np.empty(len(mesh.faces), [("count", "u1"), ("corners", "<i4", 3)])
    faces["count"], faces["corners"] = 3, mesh.faces
    temporary = path.with_name(path.name + ".part")
    try:
        temporary.write_bytes(header.encode() + vertices.tobytes() + faces.tobytes())
        os.replace(temporary, path)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise AvatarError(f"{path} cannot be written: {error.strerror or error}") from error
