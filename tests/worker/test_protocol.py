"""Bytes from anybody: they are a message, or they are refused; they never crash and never fill the memory."""

from __future__ import annotations

import io
import json
import math
import random
import tracemalloc

import numpy as np
import pytest

from avatar_core.worker import protocol
from avatar_core.worker.protocol import PREFIX, ProtocolError, encode, read_message, write_all


def stream_of(header: dict, planes: dict | None = None) -> bytes:
    return b"".join(encode(header, planes))


def framed(text: bytes, payload: bytes = b"", announced: int | None = None) -> bytes:
    size = len(payload) if announced is None else announced
    return PREFIX.pack(protocol.MAGIC, len(text), size) + text + payload


def read(data: bytes, **options):
    return read_message(io.BytesIO(data).readinto, **options)


def test_planes_arrive_bit_for_bit_through_a_stream_that_gives_little_at_a_time():
    planes: dict[str, np.ndarray] = {
        "rgba": np.random.default_rng(0).normal(size=(5, 7, 4)).astype(np.float32),
        "empty": np.zeros((0, 0, 3), np.float32),
        "faces": np.arange(12, dtype=np.int32).reshape(4, 3),
        "preview": np.arange(8, dtype=np.uint8),
    }
    source = io.BytesIO()
    write_all(lambda view: source.write(view[:11]), encode({"type": "reply", "id": 7, "ü": "é"}, planes))
    source.seek(0)
    message = read_message(lambda view: source.readinto(view[:13]))
    assert (message.header["id"], message.header["ü"]) == (7, "é")
    for name, (plane, data) in message.buffers().items():
        found: np.ndarray = np.ndarray(plane.shape, plane.dtype, data if plane.size else None)
        assert found.dtype == planes[name].dtype and np.array_equal(found, planes[name])
    assert source.read() == b""


@pytest.mark.parametrize(
    "header, planes",
    [
        ({"type": "render", "value": math.nan}, None),
        ({"type": "render", "value": object()}, None),
        ({"type": "reply"}, {"half": np.zeros(3, np.float16)}),
        ({"type": "reply"}, {"strided": np.zeros((4, 4), np.float32)[:, ::2]}),
        ({"type": "reply", "text": "x" * protocol.MAX_HEADER}, None),
    ],
)
def test_unfit_messages_are_refused_before_a_byte_is_written(header, planes):
    with pytest.raises(ProtocolError):
        encode(header, planes)


@pytest.mark.parametrize(
    "data",
    [
        b"Welcome to host42, have a nice day",
        framed(b"{}"),
        framed(b"[]"),
        framed(b"\xff\xfe"),
        framed(b"[" * 100_000),
        framed(b'{"type": "x", "v": NaN}'),
        framed(b'{"type": 3}'),
        framed(b'{"type": "x", "id": -1}'),
        framed(b'{"type": "x", "id": 1.5}'),
        framed(b'{"type": "x", "id": true}'),
        framed(b'{"type": "x"}', b"payload that no plane describes"),
        framed(b'{"type": "x", "planes": {}}'),
        framed(b'{"type": "x", "planes": [3]}'),
        framed(b'{"type": "x", "planes": [{"name": "a", "dtype": "object", "shape": [1]}]}', b"12345678"),
        framed(b'{"type": "x", "planes": [{"name": "a", "dtype": "float32", "shape": [-1]}]}', b"1234"),
        framed(b'{"type": "x", "planes": [{"name": "a", "dtype": "float32", "shape": [2]}]}', b"1234"),
        framed(b'{"type": "x", "planes": [{"name": "a", "dtype": "uint8", "shape": 1}]}', b"1"),
        framed(b'{"type": "x", "planes": [{"name": "a", "dtype": ["uint8"], "shape": [1]}]}', b"1"),
        framed(json.dumps({"type": "x", "planes": [{"name": "a", "dtype": "uint8", "shape": [0]}] * 2}).encode()),
        framed(json.dumps({"type": "x", "planes": [{}] * 1000}).encode()),
        framed(json.dumps({"type": "x", "planes": [{"name": "a", "dtype": "uint8", "shape": [1 << 52] * 4}]}).encode()),
        PREFIX.pack(protocol.MAGIC, protocol.MAX_HEADER + 1, 0),
        PREFIX.pack(protocol.MAGIC, 2, protocol.MAX_PAYLOAD + 1),
        PREFIX.pack(protocol.MAGIC, 2, 1 << 63),
    ],
)
def test_what_is_no_message_is_refused(data):
    with pytest.raises(ProtocolError):
        read(data)


def test_a_stream_that_ends_is_an_end_and_no_protocol_error():
    whole = stream_of({"type": "reply", "id": 1}, {"a": np.zeros(4, np.float32)})
    for length in range(len(whole)):
        with pytest.raises(EOFError):
            read(whole[:length])


def test_random_and_damaged_bytes_never_crash_and_never_fill_the_memory():
    dice = random.Random(1)
    good = stream_of({"type": "reply", "id": 1, "size": [4, 4]}, {"a": np.zeros((4, 4), np.float32)})
    tracemalloc.start()
    for trial in range(3000):
        if trial % 3 == 0:
            data = bytearray(dice.randbytes(dice.randrange(200)))
        elif trial % 3 == 1:
            data = bytearray(protocol.MAGIC) + dice.randbytes(dice.randrange(200))
        else:
            data = bytearray(good)
            for _ in range(dice.randrange(1, 6)):
                data[dice.randrange(len(data))] = dice.randrange(256)
        try:
            message = read(bytes(data), max_payload=1 << 16)
            assert isinstance(message.header["type"], str)
        except (ProtocolError, EOFError):
            pass
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < protocol.MAX_HEADER + (1 << 16) + (1 << 20)


@pytest.mark.parametrize(
    "newest, oldest, agreed",
    [(1, 1, 1), (9, 1, 1), (9, 2, None), (0, 0, None), (None, None, None), ("1", 1, None), (True, 1, None)],
)
def test_both_sides_agree_on_the_newest_version_that_both_speak(newest, oldest, agreed):
    assert protocol.negotiate(newest, oldest) == agreed
