"""Reading .npz files that strangers made: every size is known and capped before anything is allocated."""

from __future__ import annotations

import io
import math
import zipfile
import zlib
from pathlib import Path
from typing import IO

import numpy as np

from ..errors import AvatarError

MAX_FILE_BYTES = 2 << 30  # of one body file, unpacked; the largest published one (SMPL-X) has 0.4 GB
_MAX_ARRAYS = 256
_HEADER_READERS = {
    (1, 0): np.lib.format.read_array_header_1_0,
    (2, 0): np.lib.format.read_array_header_2_0,
}


class BodyFileError(AvatarError):
    """A body file that cannot be used; the sentence names the file and the entry."""


def read_npz(path: Path, limit: int = MAX_FILE_BYTES) -> dict[str, np.ndarray]:
    """All plain arrays of an .npz file by name.

    Entries of Python objects are refused (they are pickles), and so is a file whose arrays take more than
    `limit` bytes together. Raises BodyFileError.
    """
    arrays: dict[str, np.ndarray] = {}
    left = limit
    try:
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
            if len(members) > _MAX_ARRAYS:
                raise BodyFileError(f"{path} holds {len(members)} entries, more than any body file has")
            for member in members:
                with archive.open(member) as stream:
                    where = f"{path}: entry '{member.filename}'"
                    array = _read_npy(stream, where, min(left, member.file_size))
                arrays[member.filename.removesuffix(".npy")] = array
                left -= array.nbytes
    except (OSError, zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError) as error:
        raise BodyFileError(f"{path} cannot be read as an .npz file: {error}") from error
    return arrays


def _read_npy(stream: IO[bytes], where: str, limit: int) -> np.ndarray:
    try:
        reader = _HEADER_READERS[np.lib.format.read_magic(stream)]
        shape, fortran, dtype = reader(stream)
    except (ValueError, KeyError, SyntaxError) as error:
        raise BodyFileError(f"{where} is not a numpy array ({error})") from error
    if dtype.hasobject:
        raise BodyFileError(f"{where} holds Python objects, which may run code; save it as plain numbers")
    count = math.prod(shape)
    if any(side < 0 for side in shape) or count * max(dtype.itemsize, 1) > limit:
        raise BodyFileError(f"{where} claims shape {shape} of {dtype}, more than it may hold")
    data = _read_exactly(stream, count * dtype.itemsize, where)
    array = np.frombuffer(data, dtype, count)
    return array.reshape(shape[::-1]).T if fortran else array.reshape(shape)


def _read_exactly(stream: IO[bytes], size: int, where: str) -> bytes:
    buffer = io.BytesIO()
    while buffer.tell() < size:
        block = stream.read(min(size - buffer.tell(), 1 << 20))
        if not block:
            raise BodyFileError(f"{where} ends after {buffer.tell()} of {size} bytes; the file is truncated")
        buffer.write(block)
    return buffer.getvalue()
