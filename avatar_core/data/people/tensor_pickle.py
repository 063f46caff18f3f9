"""Tensors that were written with pickle.dumps, read without running what is in them.

Such a pickle calls torch to load a storage from bytes, which are a stream of torch.save's oldest layout: pickles of a
magic number, a version, facts of the machine, the storage's description and its key; then the number of values, and the
values. Only these calls are known here, both as functions of ours; sizes are checked against the bytes that are there.
"""

from __future__ import annotations

import io
import math
import pickle
import struct
from collections import OrderedDict
from typing import Any

import numpy as np

_TYPES = {"FloatStorage": "<f4", "DoubleStorage": "<f8", "LongStorage": "<i8", "IntStorage": "<i4"}
_HEADERS = 3  # pickles before the storage's description


def plain_value(data: bytes) -> Any:
    """A number, text or list of them. Raises ValueError."""
    return _load(_Unpickler(io.BytesIO(data)))


def tensor_value(data: bytes) -> np.ndarray:
    """A tensor as float64. Raises ValueError for anything else."""
    value = plain_value(data)
    if not isinstance(value, np.ndarray) or value.dtype.kind not in "fi":
        raise ValueError(f"it is a {type(value).__name__} where a tensor belongs")
    return value.astype(np.float64)


def _load(unpickler: pickle.Unpickler) -> Any:
    try:
        return unpickler.load()
    except ValueError:
        raise
    except Exception as error:  # pickle raises many kinds for damaged data
        raise ValueError(f"its pickle is damaged ({type(error).__name__})") from error


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if (module, name) == ("torch._utils", "_rebuild_tensor_v2"):
            return _tensor
        if (module, name) == ("torch.storage", "_load_from_bytes"):
            return _storage
        if (module, name) == ("collections", "OrderedDict"):
            return OrderedDict
        raise ValueError(f"its pickle names {module}.{name}, which no tensor needs")


class _Description(pickle.Unpickler):
    """The type and size of a storage."""

    def find_class(self, module: str, name: str) -> Any:
        if module == "torch" and name in _TYPES:
            return name
        raise ValueError(f"its storage names {module}.{name}")

    def persistent_load(self, pid: Any) -> Any:
        return pid[1], pid[4]


def _storage(data: bytes) -> np.ndarray:
    stream = io.BytesIO(data)
    for _ in range(_HEADERS):
        _load(_Unpickler(stream))
    kind, claimed = _load(_Description(stream))
    _load(_Unpickler(stream))
    (count,) = struct.unpack("<q", stream.read(8))
    values = np.frombuffer(data, _TYPES[kind], offset=stream.tell())
    if not count == claimed == len(values):
        raise ValueError(f"its storage claims {count} values and has {len(values)}")
    return values


def _tensor(storage: np.ndarray, offset: int, size: tuple[int, ...], stride: tuple[int, ...], *_: Any) -> np.ndarray:
    count, steps = math.prod(size), tuple(math.prod(size[i + 1 :]) for i in range(len(size)))
    long = [i for i, side in enumerate(size) if side != 1]  # along others the stride does not matter
    if not 0 <= offset <= len(storage) - count or min(size, default=1) < 0:
        raise ValueError("its tensor reaches beyond its storage")
    if any(stride[i] != steps[i] for i in long):
        raise ValueError("its tensor is not stored row by row")
    return storage[offset : offset + count].reshape(size)
