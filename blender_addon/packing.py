# SPDX-License-Identifier: GPL-3.0-or-later
"""An actor's file inside of the .blend: bytes of an image datablock, the one kind that takes any bytes from a script.

Blender saves, compresses, appends and links them as it does with packed pictures. The renderer reads files, so the
bytes are written once into a cache, under their own SHA-256 (kept_files.py).
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import tempfile
from functools import cache
from pathlib import Path

import bpy

from .errors import SceneError
from .kept_files import MAX_ACTOR, KeptFiles, is_digest, sha256

_DIGEST = "avatar_sha256"  # custom property of the image


def packed(path: Path) -> bpy.types.Image:
    """The image that holds the file's bytes, made where there is none yet. Raises SceneError."""
    try:
        size = path.stat().st_size
        if size > MAX_ACTOR:
            raise SceneError(f"{path.name} has {size >> 20} MiB; at most {MAX_ACTOR >> 20} MiB can be packed.")
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
    digest, files = image.get(_DIGEST, ""), _unpacked()
    if not is_digest(digest):
        raise _damaged(image)
    found = files.find(digest)
    if found is None:
        try:
            part = files.part()
            part.write_bytes(image.packed_file.data if image.packed_file is not None else b"")
            found = files.keep(part, digest)
        except OSError as error:
            raise SceneError(f"'{image.name}' cannot be unpacked: {error.strerror or error}.") from error
        files.tidy([held.get(_DIGEST, "") for held in bpy.data.images])
    if found is None:
        raise _damaged(image)
    return found


def drop(image: bpy.types.Image) -> None:
    """Removes the image, once no avatar refers to it."""
    if image.users == 0:
        bpy.data.images.remove(image)


def same(path: Path, other: Path) -> bool:
    """Whether two files, the second of which may be missing, have the same bytes."""
    try:
        return path.stat().st_size == other.stat().st_size and sha256(path) == sha256(other)
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


def register() -> None:
    with contextlib.suppress(ValueError):  # a script runs the sources without installing them
        _unpacked().tidy()


def unregister() -> None:
    pass


@cache
def _unpacked() -> KeptFiles:
    return KeptFiles(Path(bpy.utils.extension_path_user(__package__, path="unpacked")))


def _damaged(image: bpy.types.Image) -> SceneError:
    return SceneError(f"The actor packed as '{image.name}' is damaged: unpack it, or find its file anew.")
