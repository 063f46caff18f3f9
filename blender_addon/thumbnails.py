# SPDX-License-Identifier: GPL-3.0-or-later
"""The actors in folders, each with the small picture that its file carries; no bpy here, so that a thread can look.

Of a file only the header and what is asked for are read, and both are checked against the file's size first
(docs/actor_format.md).
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

_MAX_HEADER = 16 << 20
_MAX_SIDE = 1024  # pixels of a file's picture
SIDE = 256  # pixels that are shown
_MOST = 200  # actors of all folders
_MAX_BYTES = 4 * _MAX_SIDE**2  # that are read of a tensor
_KINDS: dict[str, np.dtype[Any]] = {"U8": np.dtype(np.uint8), "F32": np.dtype("<f4")}


@dataclass(frozen=True)
class Thumbnail:
    """An actor's file; picture: [H, W, 4] uint8 sRGB, top row first, or None where it carries none."""

    path: Path
    picture: np.ndarray | None


def find(folders: Iterable[Path]) -> list[Thumbnail]:
    """The actors of these folders (not of those in them), by name; folders that are not there hold none."""
    paths: dict[Path, None] = {}
    for folder in folders:
        try:
            paths |= dict.fromkeys(sorted(found for found in folder.glob("*.actor") if found.is_file()))
        except OSError:  # may not be read
            continue
    by_name = sorted(paths, key=lambda path: path.stem.lower())
    return [Thumbnail(path, picture(path)) for path in by_name[:_MOST]]


def picture(path: Path) -> np.ndarray | None:
    """[H, W, 4] uint8 with at most SIDE pixels a side; None for a file without one, or that is no actor."""
    found = _read(path, "preview", "U8", 4)
    if found is None or found.ndim != 3 or max(found.shape) > _MAX_SIDE:
        return None
    step = -(-max(found.shape) // SIDE)
    return found[::step, ::step]


def height(path: Path) -> float | None:
    """Metres, of the body at rest; None for a file without one."""
    found = _read(path, "body.vertices", "F32", 3)
    if found is None or found.ndim != 2 or not np.isfinite(found).all():
        return None
    return float(np.ptp(found[:, 1])) or None


def _read(path: Path, name: str, kind: str, channels: int) -> np.ndarray | None:
    """One tensor of the file, [..., channels]; None where it has no such one."""
    try:
        with path.open("rb") as stream:
            size = path.stat().st_size
            length = int.from_bytes(stream.read(8), "little")
            if not 2 <= length <= min(_MAX_HEADER, size - 8):
                return None
            entry = json.loads(stream.read(length)).get(name)
            if entry is None or entry["dtype"] != kind:
                return None
            shape, (start, end) = entry["shape"], entry["data_offsets"]
            whole = all(type(number) is int and number >= 0 for number in (*shape, start, end))
            if not (whole and shape and shape[-1] == channels and end <= size - 8 - length):
                return None
            count = math.prod(shape)
            if not 0 < count * _KINDS[kind].itemsize == end - start <= _MAX_BYTES:
                return None
            stream.seek(8 + length + start)
            values = np.frombuffer(stream.read(end - start), _KINDS[kind])
    except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return None
    return values.reshape(shape) if values.size == count else None
