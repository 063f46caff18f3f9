# SPDX-License-Identifier: GPL-3.0-or-later
"""The actors in folders, each with the small picture that its file carries; no bpy here, so that a thread can look.

Of a file only the header and the picture are read, and both are checked against the file's size first
(docs/actor_format.md).
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

_MAX_HEADER = 16 << 20
_MAX_SIDE = 1024  # pixels of a file's picture
SIDE = 256  # pixels that are shown
_MOST = 200  # actors of all folders


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
    try:
        with path.open("rb") as stream:
            size = path.stat().st_size
            length = int.from_bytes(stream.read(8), "little")
            if not 2 <= length <= min(_MAX_HEADER, size - 8):
                return None
            entry = json.loads(stream.read(length)).get("preview")
            if entry is None or entry["dtype"] != "U8":
                return None
            (height, width, channels), (start, end) = entry["shape"], entry["data_offsets"]
            whole = all(type(number) is int for number in (height, width, channels, start, end))
            fits = whole and channels == 4 and 0 < height <= _MAX_SIDE and 0 < width <= _MAX_SIDE
            if not (fits and end - start == height * width * 4 and start >= 0 and end <= size - 8 - length):
                return None
            stream.seek(8 + length + start)
            pixels = np.frombuffer(stream.read(end - start), np.uint8)
    except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return None
    step = -(-max(height, width) // SIDE)
    return pixels.reshape(height, width, 4)[::step, ::step] if pixels.size == height * width * 4 else None
