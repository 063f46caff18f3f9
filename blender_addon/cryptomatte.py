# SPDX-License-Identifier: GPL-3.0-or-later
"""Cryptomatte passes of avatars: who covers how much of each pixel, for Blender's own Cryptomatte node. numpy only.

After the Cryptomatte specification 1.2 (Friedman and Jones): an object is the MurmurHash3_x86_32 of its name, whose
bits are read as a float; a pass holds two pairs of (object, coverage), the largest coverage first.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Sequence

import numpy as np

_TYPE = "CryptoObject"  # passes are named so by Cycles and EEVEE
_WORD = 0xFFFFFFFF


def pass_names(levels: int) -> list[str]:
    """Of the passes that hold `levels` objects a pixel."""
    return [f"{_TYPE}{number:02d}" for number in range((levels + 1) // 2)]


def passes(objects: Sequence[str], coverages: Sequence[np.ndarray], levels: int) -> dict[str, np.ndarray]:
    """[H, W, 4] for each of `pass_names`: pairs of object and coverage. coverages: [H, W], one for each object."""
    names = pass_names(levels)
    covered = np.stack(coverages)  # [N, H, W]
    order = np.argsort(-covered, axis=0, kind="stable")
    ranked = np.take_along_axis(covered, order, 0)
    found = np.array([object_id(name) for name in objects], np.float32)[order]
    pairs = np.zeros((2 * len(names), *covered.shape[1:], 2), np.float32)
    count = min(len(pairs), len(objects))
    pairs[:count, ..., 0] = np.where(ranked > 0, found, 0)[:count]
    pairs[:count, ..., 1] = ranked[:count]
    return {name: np.concatenate(pairs[2 * rank : 2 * rank + 2], -1) for rank, name in enumerate(names)}


def metadata(view_layer: str, objects: Sequence[str]) -> dict[str, str]:
    """What an EXR file says about the passes of a view layer: how they are read, and the names of the objects."""
    name = f"{view_layer}.{_TYPE}"
    about = {
        "name": name,
        "hash": "MurmurHash3_32",
        "conversion": "uint32_to_float32",
        "manifest": json.dumps({item: f"{_bits(item):08x}" for item in objects}, separators=(",", ":")),
    }
    key = f"{murmur3(name.encode()):08x}"[:7]
    return {f"cryptomatte/{key}/{field}": value for field, value in about.items()}


def object_id(name: str) -> float:
    """The float that stands for an object."""
    return float(struct.unpack("<f", struct.pack("<I", _bits(name)))[0])


def murmur3(data: bytes) -> int:
    """MurmurHash3_x86_32 with seed 0 (Appleby)."""
    state, whole = 0, len(data) // 4 * 4
    for (block,) in struct.iter_unpack("<I", data[:whole]):
        state = (_turned(state ^ _mixed(block), 13) * 5 + 0xE6546B64) & _WORD
    state ^= _mixed(int.from_bytes(data[whole:], "little"))
    state ^= len(data)
    for shift, factor in ((16, 0x85EBCA6B), (13, 0xC2B2AE35)):
        state = ((state ^ state >> shift) * factor) & _WORD
    return state ^ state >> 16


def _bits(name: str) -> int:
    """The hash with an exponent that no zero, denormal, infinity or NaN has."""
    value = murmur3(name.encode())
    return value ^ 1 << 23 if value >> 23 & 255 in (0, 255) else value


def _mixed(block: int) -> int:
    return _turned(block * 0xCC9E2D51 & _WORD, 15) * 0x1B873593 & _WORD


def _turned(value: int, bits: int) -> int:
    return (value << bits | value >> 32 - bits) & _WORD
