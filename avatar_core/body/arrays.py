"""Reading .npz files that strangers made: every size is known and capped before anything is allocated."""

from __future__ import annotations

import io
import math
import struct
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import numpy as np

from ..errors import AvatarError

MAX_FILE_BYTES = 1 << 30  # of one body file, unpacked; the largest published one (SMPL-X) has 0.4 GB
_MAX_ARRAYS = 256
_READ_ERRORS = (
    *(OSError, EOFError, ValueError, RuntimeError, MemoryError, NotImplementedError),
    *(zipfile.BadZipFile, zlib.error, struct.error),
)
_HEADER_READERS = {
    (1, 0): np.lib.format.read_array_header_1_0,
    (2, 0): np.lib.format.read_array_header_2_0,
}


class BodyFileError(AvatarError):
    """A body file that cannot be used; the sentence names the file and the entry."""


def npz_names(path: Path) -> set[str]:
    """Names of the arrays in an .npz file, without reading them. Raises BodyFileError."""
    with _opened(path) as archive:
        return {member.filename.removesuffix(".npy") for member in archive.infolist()}


def read_npz(path: Path, limit: int = MAX_FILE_BYTES, wanted: set[str] | None = None) -> dict[str, np.ndarray]:
    """The plain arrays of an .npz file by name: all, or those `wanted` that it has.

    Entries of Python objects are refused (they are pickles), unless they are not wanted; so is a file whose
    arrays take more than `limit` bytes together. Raises BodyFileError.
    """
    arrays: dict[str, np.ndarray] = {}
    left = limit
    with _opened(path) as archive:
        for member in archive.infolist():
            name = member.filename.removesuffix(".npy")
            if wanted is None or name in wanted:
                with archive.open(member) as stream:
                    arrays[name] = _read_npy(stream, f"{path}: entry '{name}'", min(left, member.file_size))
                left -= arrays[name].nbytes
    return arrays


@contextmanager
def _opened(path: Path) -> Iterator[zipfile.ZipFile]:
    try:
        with zipfile.ZipFile(path) as archive:
            if len(archive.infolist()) > _MAX_ARRAYS:
                raise BodyFileError(f"{path} holds more than {_MAX_ARRAYS} entries, so it is no body file")
            yield archive
    except _READ_ERRORS as error:
        raise BodyFileError(f"{path} is no readable .npz file; it is damaged or truncated ({error})") from error


def _read_npy(stream: IO[bytes], where: str, limit: int) -> np.ndarray:
    try:
        reader = _HEADER_READERS[np.lib.format.read_magic(stream)]
        shape, fortran, dtype = reader(stream)
    except Exception as error:  # of a hostile header: ValueError, TokenError, RecursionError, ...
        raise BodyFileError(f"{where} is not a numpy array ({error})") from error
    if dtype.hasobject:
        raise BodyFileError(f"{where} holds Python objects, which may run code; save it as plain numbers")
    count = math.prod(shape)
    if any(side < 0 for side in shape) or count * max(dtype.itemsize, 1) > limit:
        raise BodyFileError(f"{where} claims shape {shape} of {dtype}, more than it may hold")
    data = _read_exactly(stream, count * dtype.itemsize, where)
    array = np.frombuffer(data, dtype, count)
    return array.reshape(shape[::-1]).T if fortran else array.reshape(shape)


def _read_exactly(stream: IO[bytes], size: int, where: str) -> memoryview:
    buffer = io.BytesIO()
    while buffer.tell() < size:
        block = stream.read(min(size - buffer.tell(), 1 << 20))
        if not block:
            raise BodyFileError(f"{where} ends after {buffer.tell()} of {size} bytes; the file is truncated")
        buffer.write(block)
    return buffer.getbuffer()
