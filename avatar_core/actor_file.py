"""The .actor file: safetensors whose metadata is one JSON document. See docs/actor_format.md.

A file comes from strangers. Its header is read and checked first; tensors are read only when every name, type and
shape is the one that the method's configuration asks for.
"""

from __future__ import annotations

import json
import math
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from .errors import AvatarError

FORMAT = "avatar-actor"
VERSION = 1
MAX_BYTES = 4 << 30
_MAX_HEADER = 16 << 20
_MAX_TENSORS = 4096
_SIZES = {
    "F64": 8,
    "F32": 4,
    "F16": 2,
    "BF16": 2,
    "I64": 8,
    "I32": 4,
    "U32": 4,
    "I16": 2,
    "U16": 2,
    "I8": 1,
    "U8": 1,
    "BOOL": 1,
}


class ActorFileError(AvatarError):
    """An .actor file that cannot be used; the sentence names the file."""


@dataclass(frozen=True)
class Header:
    """What a file says of itself. document: the JSON metadata. shapes: shape of each tensor by name."""

    document: dict[str, Any]
    shapes: dict[str, tuple[int, ...]]


def read_header(path: Path) -> Header:
    """Reads and checks the header without reading any tensor; raises ActorFileError."""
    try:
        size = path.stat().st_size
        with path.open("rb") as stream:
            start = stream.read(8)
            length = int.from_bytes(start, "little")
            possible = len(start) == 8 and 2 <= length <= min(_MAX_HEADER, size - 8)
            if not possible or stream.peek(1)[:1] != b"{":
                raise ActorFileError(f"{path} {_what_else(start)}")
            raw = stream.read(length)
    except OSError as error:
        raise ActorFileError(f"{path} cannot be read: {error.strerror or error}") from error
    if size > MAX_BYTES:
        raise ActorFileError(f"{path} has {size} bytes; actors have at most {MAX_BYTES}")
    try:
        header = json.loads(raw)
        text = header.pop("__metadata__", {}).get("avatar")
        document = json.loads(text) if text is not None else None
    except (ValueError, AttributeError, RecursionError, TypeError) as error:
        raise ActorFileError(f"{path} is not an actor file: its header is no JSON") from error
    if not isinstance(document, dict) or document.get("format") != FORMAT:
        raise ActorFileError(f"{path} holds tensors but no actor; make actors with 'avatar train'")
    version = document.get("version")
    if type(version) is not int or version < 1:
        raise ActorFileError(f"{path} states no format version")
    if version > VERSION:
        raise ActorFileError(
            f"{path} has actor format {version}, this avatar_core reads up to {VERSION}; update avatar_core"
        )
    return Header(document, _check_tensors(path, header, size - 8 - length))


def read_tensors(path: Path) -> dict[str, np.ndarray]:
    """All tensors of a file whose header was checked. Raises ActorFileError."""
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    try:
        return load_file(path)
    except (SafetensorError, OSError, ValueError) as error:
        raise ActorFileError(f"{path} is damaged: {error}") from error


def write(path: Path, document: dict[str, Any], tensors: dict[str, np.ndarray]) -> None:
    """Writes a file beside and renames it, so that `path` is whole or absent. Raises ActorFileError."""
    from safetensors.numpy import save

    text = json.dumps({"format": FORMAT, "version": VERSION, **document}, allow_nan=False)
    temporary = path.with_name(path.name + ".part")
    try:
        with temporary.open("wb") as stream:
            stream.write(save(tensors, metadata={"avatar": text}))
            stream.flush()
            os.fsync(stream.fileno())
        os.replace(temporary, path)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise ActorFileError(f"{path} cannot be written: {error.strerror or error}") from error


def _what_else(start: bytes) -> str:
    """What a file is that begins with these bytes and is no actor."""
    if start[:2] == b"PK" or start[:1] == b"\x80":
        return "is a pickle or zip file, not an actor; it is refused because it may run code"
    return "is not an actor file, or it is truncated; copy or export it again"


def _check_tensors(path: Path, header: dict[str, Any], available: int) -> dict[str, tuple[int, ...]]:
    """Shapes by name; every tensor must have a plain type and lie inside of the file, and all of them fill it."""
    if len(header) > _MAX_TENSORS:
        raise ActorFileError(f"{path} claims {len(header)} tensors, more than any actor has")
    shapes, total = {}, 0
    for name, entry in header.items():
        try:
            shape = tuple(entry["shape"])
            begin, end = entry["data_offsets"]
            fits = all(type(side) is int and side >= 0 for side in (*shape, begin, end))
            fits = fits and math.prod(shape) * _SIZES[entry["dtype"]] == end - begin and end <= available
        except (KeyError, TypeError, ValueError):
            fits = False
        if not fits:
            raise ActorFileError(f"{path} is truncated or damaged: tensor '{name}' does not lie inside of it")
        shapes[name] = shape
        total += end - begin
    if total != available:
        raise ActorFileError(f"{path} is truncated or damaged: {available} bytes of data where {total} are announced")
    return shapes
