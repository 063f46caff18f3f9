"""Reading SMPL's .pkl files without running them.

A pickle is a program; this reader records its calls instead of making them. Only the names that body files
use are known, every other one ends the reading, and arrays are rebuilt from the records, one by one, when
asked for. No chumpy and no scipy are needed: their objects are records too.
"""

from __future__ import annotations

import io
import math
import pickle
import re
import struct
from pathlib import Path
from typing import Any

import numpy as np

from .arrays import MAX_FILE_BYTES, BodyFileError

_MAX_DENSE = 1 << 28  # values of a sparse matrix made dense
_MAX_DEPTH = 32  # of chumpy expressions
_NUMBER = re.compile(r"[biuf][1248]")
_SPARSE = re.compile(r"scipy\.sparse(\._?(csc|csr|coo))?")
_KNOWN = {
    ("numpy", "ndarray"),
    ("numpy", "dtype"),
    *((f"numpy.{core}.multiarray", name) for core in ("core", "_core") for name in ("_reconstruct", "scalar")),
    *((f"numpy.{core}.numeric", "_frombuffer") for core in ("core", "_core")),
    *((module, "_reconstructor") for module in ("copy_reg", "copyreg")),
    *((module, name) for module in ("__builtin__", "builtins") for name in ("object", "set")),
    ("_codecs", "encode"),
    ("collections", "OrderedDict"),
}


class PickledArrays:
    """The named arrays of a pickled dict; each is rebuilt when it is asked for."""

    def __init__(self, path: Path) -> None:
        """Reads the file; raises BodyFileError when it is no pickled dict or asks for anything unusual."""
        self._path = path
        self._entries = _load(path)

    @property
    def names(self) -> set[str]:
        return set(self._entries)

    def array(self, name: str) -> np.ndarray:
        """A plain array; sparse matrices become dense, chumpy objects their values."""
        try:
            return _array(self._entries[name], 0)
        except BodyFileError:
            raise
        except Exception as error:  # records of a hostile file may have any shape
            raise BodyFileError(f"{self._path}: entry '{name}' is not a usable array ({error})") from error


class _Record:
    """One call that the pickle asked for: the arguments, and the state set afterwards."""

    kind = ""
    args: tuple[Any, ...]
    state: Any

    def __new__(cls, *args: Any) -> _Record:
        record = super().__new__(cls)
        record.args, record.state = args, None
        return record

    def __init__(self, *args: Any) -> None:
        pass

    def __setstate__(self, state: Any) -> None:
        self.state = state


class _Recorder(pickle._Unpickler):  # type: ignore[name-defined]  # in Python: its memory use follows the file's size
    def find_class(self, module: str, name: str) -> type[_Record]:
        sparse = _SPARSE.fullmatch(module) and re.fullmatch(r"(csc|csr|coo)_(matrix|array)", name)
        chumpy = module.split(".")[0] == "chumpy"
        if not (sparse or chumpy or (module, name) in _KNOWN):
            raise BodyFileError(f"it asks for '{module}.{name}', which no body file needs and which may run code")
        return type("_Record", (_Record,), {"kind": name})  # a fresh class: nothing outlives this file


def _load_buffer(recorder: Any) -> None:
    """BYTEARRAY8, reading first: Python's own method first allocates whatever size the file claims."""
    (size,) = struct.unpack("<Q", recorder.read(8))
    recorder.append(bytearray(recorder.read(size)))


_Recorder.dispatch = {**_Recorder.dispatch, pickle.BYTEARRAY8[0]: _load_buffer}


def _load(path: Path) -> dict[str, Any]:
    try:
        size = path.stat().st_size
        if size > MAX_FILE_BYTES:
            raise BodyFileError(f"{path} has {size >> 20} MB, more than any body file")
        data = path.read_bytes()
    except OSError as error:
        raise BodyFileError(f"{path} cannot be read: {error.strerror}") from error
    try:
        loaded = _Recorder(io.BytesIO(data), encoding="latin1").load()
    except BodyFileError as error:
        raise BodyFileError(f"{path} was not opened: {error}") from error
    except Exception as error:  # a damaged pickle can fail anywhere
        raise BodyFileError(f"{path} cannot be read as a pickle; it is damaged or truncated ({error})") from error
    if isinstance(loaded, _Record) and loaded.kind == "_reconstructor":
        loaded = loaded.state
    if not isinstance(loaded, dict):
        raise BodyFileError(f"{path} holds no dictionary of arrays, so it is no body file")
    return {str(name): value for name, value in loaded.items()}


def _array(value: Any, depth: int) -> np.ndarray:
    if depth > _MAX_DEPTH:
        raise BodyFileError("a chumpy expression is nested too deeply")
    if not isinstance(value, _Record):
        raise ValueError(f"expected an array, got {type(value).__name__}")
    kind, state = value.kind, value.state
    if kind == "_reconstruct":
        _, shape, dtype, fortran, data = state
        return _dense(data, dtype, shape, "F" if fortran else "C")
    if kind == "_frombuffer":
        data, dtype, shape, order = value.args
        return _dense(data, dtype, shape, order)
    if kind == "_reconstructor":
        kind = value.args[0].kind
    if kind == "Ch":
        return _array(state["x"], depth + 1)
    if kind == "Select":
        picked = _array(state["a"], depth + 1).ravel()[_array(state["idxs"], depth + 1)]
        return picked.reshape(state["preferred_shape"]) if "preferred_shape" in state else picked
    if kind[:3] in ("csc", "csr", "coo"):
        return _sparse_to_dense(kind[:3], state, depth)
    raise ValueError(f"'{kind}' is not supported")


def _dense(data: Any, dtype: Any, shape: Any, order: str) -> np.ndarray:
    spec, byte_order = dtype.args[0], dtype.state[1] if dtype.state else "|"
    if not isinstance(spec, str) or not _NUMBER.fullmatch(spec):
        raise ValueError(f"its values are of type '{spec}', not plain numbers")
    if isinstance(data, _Record):  # Python 3 wrote bytes for Python 2: encode(text, "latin1")
        data = data.args[0]
    if isinstance(data, str):
        data = data.encode("latin1")
    kind = np.dtype(("" if byte_order == "|" else byte_order) + spec)
    shape = tuple(int(side) for side in shape)
    if len(data) != math.prod(shape) * kind.itemsize:
        raise ValueError(f"shape {shape} of {spec} needs {math.prod(shape) * kind.itemsize} bytes, got {len(data)}")
    return np.frombuffer(data, kind).reshape(shape, order=order)  # type: ignore[call-overload]


def _sparse_to_dense(layout: str, state: dict[str, Any], depth: int) -> np.ndarray:
    rows, columns = (int(side) for side in state["_shape"])
    if not 0 <= rows * columns <= _MAX_DENSE or rows < 0:
        raise ValueError(f"a sparse matrix of {rows} x {columns} is too large")
    values = _array(state["data"], depth + 1)
    if layout == "coo":
        pair = state["coords"] if "coords" in state else (state["row"], state["col"])
        row, column = (_array(part, depth + 1) for part in pair)
    else:
        minor = _array(state["indices"], depth + 1)
        counts = np.diff(_array(state["indptr"], depth + 1))
        if counts.min(initial=0) < 0 or counts.sum() != len(minor):
            raise ValueError("the index pointers of a sparse matrix do not fit")
        major = np.repeat(np.arange(len(counts)), counts)
        row, column = (minor, major) if layout == "csc" else (major, minor)
    dense = np.zeros((rows, columns))
    np.add.at(dense, (row, column), values)
    return dense
