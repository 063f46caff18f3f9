# SPDX-License-Identifier: GPL-3.0-or-later
"""An actor's file inside of the .blend: bytes of an image datablock, the one kind that takes any bytes from a script.

Blender saves, compresses, appends and links them as it does with packed pictures. The renderer reads files, so the
bytes are written once into a cache, under their own SHA-256: a file there is used only while it is what its name says.
"""

from __future__ import annotations

import hashlib
import os
import re
import tempfile
from pathlib import Path

import bpy

from .errors import SceneError

MAX_BYTES = 1 << 30
_DIGEST = "avatar_sha256"  # custom property of the image
_HEXADECIMAL = re.compile(r"[0-9a-f]{64}")
_checked: dict[Path, tuple[int, int]] = {}  # files of the cache that are what their names say, with time and size


def packed(path: Path) -> bpy.types.Image:
    """The image that holds the file's bytes, made where there is none yet. Raises SceneError."""
    try:
        size = path.stat().st_size
        if size > MAX_BYTES:
            raise SceneError(f"{path.name} has {size >> 20} MiB; at most {MAX_BYTES >> 20} MiB can be packed.")
        data = path.read_bytes()
    except OSError as error:
        raise SceneError(f"{path} cannot be packed: {error.strerror or error}.") from error
    digest = hashlib.sha256(data).hexdigest()
    for image in bpy.data.images:
        if image.get(_DIGEST) == digest and image.packed_file is not None and image.library is None:
            return image
    image = bpy.data.images.new(path.name, 1, 1)
    image.source, image.filepath = "FILE", f"//{path.name}"
    image.pack(data=data, data_len=len(data))
    image[_DIGEST] = digest
    return image


def extracted(image: bpy.types.Image) -> Path:
    """The file of the cache with the bytes that `image` holds. Raises SceneError where they are damaged."""
    digest = image.get(_DIGEST, "")
    if not isinstance(digest, str) or not _HEXADECIMAL.fullmatch(digest):
        raise _damaged(image)
    target = _cache() / f"{digest}.actor"
    if not _is_whole(target, digest):
        data = image.packed_file.data if image.packed_file is not None else b""
        if hashlib.sha256(data).hexdigest() != digest:
            raise _damaged(image)
        write_new(target, data)
    return target


def drop(image: bpy.types.Image) -> None:
    """Removes the image, once no avatar refers to it."""
    if image.users == 0:
        bpy.data.images.remove(image)


def same(path: Path, other: Path) -> bool:
    """Whether two files, the second of which may be missing, have the same bytes."""
    try:
        return path.stat().st_size == other.stat().st_size and _digest(path) == _digest(other)
    except OSError:
        return False


def write_new(target: Path, data: bytes) -> None:
    """Writes beside and renames. Raises SceneError."""
    try:
        handle, part = tempfile.mkstemp(dir=target.parent)
        try:
            with os.fdopen(handle, "wb") as stream:
                stream.write(data)
            os.replace(part, target)
        except OSError:
            Path(part).unlink(missing_ok=True)
            raise
    except OSError as error:
        raise SceneError(f"{target} cannot be written: {error.strerror or error}.") from error


def _is_whole(path: Path, digest: str) -> bool:
    """Hashes a file once for each of its states."""
    try:
        status = path.stat()
        state = status.st_mtime_ns, status.st_size
        if _checked.get(path) != state:
            if _digest(path) != digest:
                return False
            _checked[path] = state
    except OSError:
        return False
    return True


def _digest(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _cache() -> Path:
    return Path(bpy.utils.extension_path_user(__package__, path="unpacked", create=True))


def _damaged(image: bpy.types.Image) -> SceneError:
    return SceneError(f"The actor packed as '{image.name}' is damaged: unpack it, or find its file anew.")
