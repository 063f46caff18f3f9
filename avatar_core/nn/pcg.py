"""PCG32 random numbers (O'Neill 2014), by which tiny-cuda-nn fills its networks and torch-ngp jitters its rays."""

from __future__ import annotations

import numpy as np

_MULTIPLIER = np.uint64(0x5851F42D4C957F2D)
_INCREMENT = np.uint64(3)  # of stream 1


def pcg32_uniform(seeds: np.ndarray, count: int) -> np.ndarray:
    """The first `count` numbers of the streams of `seeds` [N] (not negative): [N, count] float32 in [0, 1).

    The state moves by s -> a s + c modulo 2^64, so state k is a^k s + c (1 + a + ... + a^(k-1)): all at once.
    """
    powers = np.ones(count + 1, np.uint64)
    with np.errstate(over="ignore"):
        np.multiply.accumulate(np.full(count, _MULTIPLIER), out=powers[1:])
        shifts = np.concatenate([[np.uint64(0)], np.cumsum(powers[:-1], dtype=np.uint64)]) * _INCREMENT
        first = (np.asarray(seeds).astype(np.uint64) + _INCREMENT) * _MULTIPLIER + _INCREMENT
        state = first[:, None] * powers[:-1] + shifts[:-1]
    mixed = (((state >> np.uint64(18)) ^ state) >> np.uint64(27)).astype(np.uint32)
    turn = (state >> np.uint64(59)).astype(np.uint32)
    bits = (mixed >> turn) | (mixed << ((np.uint32(32) - turn) & np.uint32(31)))
    return ((bits >> np.uint32(9)) | np.uint32(0x3F800000)).view(np.float32) - np.float32(1)
