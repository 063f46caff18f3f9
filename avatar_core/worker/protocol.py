"""The bytes between the add-on and the worker: one framed message at a time, over any pair of byte streams.

    magic  u32 header length  u64 payload length  |  header, JSON in UTF-8  |  payload, raw planes end to end

All numbers are little endian. A header is a JSON object with a string `type`, where it belongs to a request
an integer `id`, and where a payload follows a list `planes` of `{"name", "dtype", "shape"}` whose sizes must
add up to the payload's length. Nothing is ever unpickled, and nothing larger than the caps below is ever
allocated.

Python 3.11 and up, standard library only: this file is also copied into the Blender add-on.
"""

from __future__ import annotations

import json
import math
import struct
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

PROTOCOL = 1  # the newest version of the messages that this file speaks
OLDEST_PROTOCOL = 1  # and the oldest

MAGIC = b"AVW1"
PREFIX = struct.Struct("<4sIQ")
MAX_HEADER = 4 << 20  # bytes
MAX_PAYLOAD = 2 << 30  # bytes; a frame of 7680 x 4320 with all planes is 1.2 GB
MAX_PLANES = 64
MAX_DIMENSIONS = 4
ITEM_SIZES = {"float32": 4, "int32": 4, "uint8": 1}
_FORMATS = {("f", 4): "float32", ("i", 4): "int32", ("l", 4): "int32", ("B", 1): "uint8"}

Buffer = Any  # what memoryview() takes: bytes, bytearray, a C-contiguous numpy array
ReadInto = Callable[[memoryview], "int | None"]  # fills the view's start, says how many; 0: the end
Write = Callable[[memoryview], "int | None"]  # takes bytes from the start of the view, says how many


class ProtocolError(Exception):
    """The peer sent something that is not this protocol. The connection cannot be used any more."""


@dataclass(frozen=True)
class Plane:
    """One array of a payload: C order, row 0 first."""

    name: str
    dtype: str  # a key of ITEM_SIZES
    shape: tuple[int, ...]

    @property
    def size(self) -> int:
        """Bytes."""
        return math.prod(self.shape) * ITEM_SIZES[self.dtype]


@dataclass(frozen=True)
class Message:
    """planes: as the header names them. payload: their bytes, one after the other."""

    header: dict[str, Any]
    planes: tuple[Plane, ...]
    payload: memoryview

    def buffers(self) -> dict[str, tuple[Plane, memoryview]]:
        """Each plane by name with its bytes; views on the payload, nothing is copied."""
        found, start = {}, 0
        for plane in self.planes:
            found[plane.name] = (plane, self.payload[start : start + plane.size])
            start += plane.size
        return found


def negotiate(newest: object, oldest: object) -> int | None:
    """The newest version both sides speak, given the peer's range; None where there is none."""
    if type(newest) is not int or type(oldest) is not int:
        return None
    version = min(PROTOCOL, newest)
    return version if version >= max(OLDEST_PROTOCOL, oldest) else None


def encode(header: Mapping[str, Any], planes: Mapping[str, Buffer] | None = None) -> list[memoryview]:
    """One message as buffers to be written one after the other; planes are views, not copies.

    `planes` maps a name to a C-contiguous buffer of float32, int32 or uint8. Raises ProtocolError where the
    message is unfit: a NaN in the header, too large, a wrong dtype.
    """
    described, buffers = [], []
    for name, buffer in (planes or {}).items():
        view = memoryview(buffer)
        dtype = _FORMATS.get((view.format.lstrip("<="), view.itemsize))
        if dtype is None or not view.c_contiguous:
            raise ProtocolError(f"plane '{name}' is not a C-contiguous array of {', '.join(ITEM_SIZES)}")
        described.append({"name": name, "dtype": dtype, "shape": list(view.shape or ())})
        if view.nbytes:
            buffers.append(view.cast("B"))
    try:
        full = {**header, "planes": described} if described else dict(header)
        text = json.dumps(full, separators=(",", ":"), allow_nan=False).encode()
    except (TypeError, ValueError, RecursionError) as error:
        raise ProtocolError(f"the header of a '{header.get('type')}' message is not JSON: {error}") from None
    size = sum(view.nbytes for view in buffers)
    if len(text) > MAX_HEADER or size > MAX_PAYLOAD:
        raise ProtocolError(
            f"a '{header.get('type')}' message of {len(text):,} + {size:,} bytes is larger than is allowed"
            f" ({MAX_HEADER:,} + {MAX_PAYLOAD:,})"
        )
    return [memoryview(PREFIX.pack(MAGIC, len(text), size) + text), *buffers]


def write_all(write: Write, buffers: Iterable[memoryview]) -> None:
    """Write what `encode` gave; errors of `write` (BrokenPipeError) pass through."""
    for view in buffers:
        while len(view):
            view = view[write(view) :]


def read_message(
    readinto: ReadInto,
    max_payload: int = MAX_PAYLOAD,
    allocate: Callable[[int], Buffer] = bytearray,
) -> Message:
    """Read one message, waiting for it.

    `allocate(n)` gives the n writable bytes for a payload, and is called only after every length was checked.
    Raises EOFError where the stream ended (also inside a message), ProtocolError where the bytes are not a
    message.
    """
    prefix = _read_all(readinto, bytearray(PREFIX.size))
    magic, header_size, payload_size = PREFIX.unpack(prefix)
    if magic != MAGIC:
        raise ProtocolError(f"not the avatar protocol: a message starts with {bytes(prefix)!r}")
    if header_size > MAX_HEADER or payload_size > min(max_payload, MAX_PAYLOAD):
        raise ProtocolError(f"a message announces {header_size:,} + {payload_size:,} bytes, too many")
    header = _parse(_read_all(readinto, bytearray(header_size)))
    planes = _planes(header)
    total = sum(plane.size for plane in planes)
    if total != payload_size:
        raise ProtocolError(f"a '{header['type']}' message lists {total:,} bytes and has {payload_size:,}")
    payload = _read_all(readinto, allocate(payload_size)) if payload_size else memoryview(b"")
    return Message(header, planes, payload)


def _parse(text: memoryview) -> dict[str, Any]:
    def refuse(constant: str) -> None:
        raise ValueError(f"{constant} is not JSON")

    try:
        header = json.loads(bytes(text), parse_constant=refuse)
    except (ValueError, RecursionError) as error:
        raise ProtocolError(f"the header of a message is not JSON: {error}") from None
    if not isinstance(header, dict) or not isinstance(header.get("type"), str):
        raise ProtocolError("the header of a message is not an object with a 'type'")
    if "id" in header and not _is_whole(header["id"]):
        raise ProtocolError(f"the id of a '{header['type']}' message is not a whole number")
    return header


def _planes(header: dict[str, Any]) -> tuple[Plane, ...]:
    listed = header.get("planes", [])
    if not isinstance(listed, list) or len(listed) > MAX_PLANES:
        raise ProtocolError(f"a '{header['type']}' message has no list of at most {MAX_PLANES} planes")
    planes: list[Plane] = []
    for entry in listed:
        if not isinstance(entry, dict):
            raise ProtocolError(f"a plane of a '{header['type']}' message is not an object")
        name, dtype, shape = entry.get("name"), entry.get("dtype"), entry.get("shape")
        if not isinstance(name, str) or any(plane.name == name for plane in planes):
            raise ProtocolError(f"a plane of a '{header['type']}' message has no name of its own")
        if not isinstance(dtype, str) or dtype not in ITEM_SIZES:
            raise ProtocolError(f"plane '{name}' has the unknown type {dtype!r}")
        if not isinstance(shape, list) or len(shape) > MAX_DIMENSIONS or not all(map(_is_whole, shape)):
            raise ProtocolError(f"plane '{name}' has the impossible shape {shape!r}")
        planes.append(Plane(name, dtype, tuple(shape)))
    return tuple(planes)


def _is_whole(value: object) -> bool:
    return type(value) is int and 0 <= value < 1 << 53


def _read_all(readinto: ReadInto, buffer: Buffer) -> memoryview:
    view = memoryview(buffer).cast("B") if memoryview(buffer).nbytes else memoryview(b"")
    done = 0
    while done < len(view):
        count = readinto(view[done:])
        if not count:
            raise EOFError("the stream ended")
        done += count
    return view
