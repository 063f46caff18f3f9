"""The hash grid and the sparse Adam against plain PyTorch and, where it is installed, numba."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from importlib.util import find_spec
from typing import Any

import torch
from torch import Tensor

from avatar_core.cuda.hashgrid import HashGridSpec, blend_tables, hash_grid
from avatar_core.cuda.sparse_adam import SparseAdam
from avatar_core.cuda.threads import thread_count
from benchmarks.timing import Case

POINTS = 1_000_000
GROWTH = 64 ** (1 / 15)  # 16 levels from 16 to 1024
BARS = {14: {"torch": 25.0, "numba": 1.8}, 19: {"torch": 6.3, "numba": 1.1}}
BARS_BOTH = {14: {"torch": 25.0}, 19: {"torch": 12.0}}
TABLES, USED = 47, 12  # NeRFBlendShape: expressions, and those of one frame that are not 0

Lookup = Callable[[Tensor, Tensor, HashGridSpec], Tensor]


def cases() -> Iterator[Case]:
    generator = torch.Generator().manual_seed(0)
    points = torch.rand(POINTS, 3, generator=generator)
    for log2_size in (14, 19):
        spec = HashGridSpec(16, 2, log2_size, 16, GROWTH)
        table = torch.randn(spec.parameters, 2, generator=generator)
        size = f"1M points, 16 levels of 2, 2^{log2_size}"
        peers: dict[str, Callable[[], object]] = {"torch": partial(plain_torch, points, table, spec)}
        if find_spec("numba"):
            peers["numba"] = in_numba(points, table, spec)
        yield Case("hash grid, forward", size, partial(hash_grid, points, table, spec), peers, BARS[log2_size])
        half = table.half()
        yield Case(
            *("hash grid, forward", size + ", float16"),
            partial(hash_grid, points, half, spec),
            {"float32": partial(hash_grid, points, table, spec)},
        )
        yield Case(
            *("hash grid, forward and backward", size),
            partial(both_ways, hash_grid, points, table, spec),
            {"torch": partial(both_ways, plain_torch, points, table, spec)},
            BARS_BOTH[log2_size],
        )
    yield from blended(generator)


def blended(generator: torch.Generator) -> Iterator[Case]:
    """A frame's mix, and a training step of two frames, at NeRFBlendShape's size."""
    spec = HashGridSpec(16, 4, 14, 16, GROWTH)
    tables = torch.randn(TABLES, spec.parameters, 4, generator=generator)
    coefficients = torch.rand(TABLES, generator=generator)
    coefficients[USED:] = 0
    size = f"{TABLES} tables of {spec.parameters} x 4, {USED} used"
    dense = torch.nn.Parameter(tables.clone())
    dense.grad = torch.zeros_like(dense)
    grads = [torch.randn(spec.parameters, 4, generator=generator) for _ in range(2)]
    recorded: list[tuple[Tensor, Tensor]] = []
    ours = SparseAdam([tables], factors={tables: recorded})
    theirs = torch.optim.Adam([dense])

    def step() -> None:
        recorded.extend((coefficients, grad) for grad in grads)
        ours.step()

    def plain_step() -> None:
        torch.mul(coefficients[:, None, None], grads[0] + grads[1], out=dense.grad)
        theirs.step()

    with torch.no_grad():
        mix = coefficients @ tables.flatten(1)
    assert torch.allclose(mix.view(-1, 4), blend_tables(tables, coefficients), atol=1e-4)
    yield Case(
        *("blend tables", size),
        lambda: blend_tables(tables, coefficients),
        {"torch": lambda: coefficients @ tables.flatten(1)},
    )
    yield Case("sparse Adam", size, step, {"torch Adam": plain_step})


def both_ways(lookup: Lookup, points: Tensor, table: Tensor, spec: HashGridSpec) -> Tensor | None:
    table = table.detach().requires_grad_()
    lookup(points, table, spec).sum().backward()
    return table.grad


def plain_torch(points: Tensor, table: Tensor, spec: HashGridSpec) -> Tensor:
    """Level by level and corner by corner: faster than all at once."""
    outputs = []
    for level, (scale, side) in enumerate(zip(spec.scales, spec.resolutions)):
        position = points * scale + 0.5
        cell = position.floor()
        fraction, cell, total = position - cell, cell.long(), points.new_zeros(())
        for corner in range(8):
            upper = [corner >> axis & 1 for axis in range(3)]
            x, y, z = (cell[:, axis] + upper[axis] for axis in range(3))
            if spec.dense(level):
                row = (z * side + y) * side + x
            else:
                row = (x ^ (y * 2654435761) ^ (z * 805459861)) & (spec.sizes[level] - 1)
            one, two, three = (fraction[:, axis] if upper[axis] else 1 - fraction[:, axis] for axis in range(3))
            total = total + (one * two * three)[:, None] * table[spec.offsets[level] + row]
        outputs.append(total)
    return torch.cat(outputs, 1)


def in_numba(points: Tensor, table: Tensor, spec: HashGridSpec) -> Callable[[], Any]:
    import numba
    import numpy as np

    numba.set_num_threads(thread_count())
    scales = np.array(spec.scales, np.float32)
    sides, masks = np.array(spec.resolutions, np.uint32), np.array(spec.sizes, np.uint32) - np.uint32(1)
    offsets = np.array(spec.offsets, np.int64)
    dense = np.array([spec.dense(level) for level in range(spec.levels)])
    half, unit = np.float32(0.5), np.float32(1)
    prime_y, prime_z = np.uint32(2654435761), np.uint32(805459861)

    @numba.njit(parallel=True, fastmath=True)
    def lookup(x, entries, out):  # type: ignore[no-untyped-def]
        for block in numba.prange((len(x) + 63) // 64):
            for level in range(len(scales)):
                for i in range(block * 64, min(len(x), block * 64 + 64)):
                    px, py, pz = (
                        x[i, 0] * scales[level] + half,
                        x[i, 1] * scales[level] + half,
                        x[i, 2] * scales[level] + half,
                    )
                    cx, cy, cz = np.uint32(px), np.uint32(py), np.uint32(pz)
                    fx, fy, fz = px - np.float32(cx), py - np.float32(cy), pz - np.float32(cz)
                    one, two = np.float32(0), np.float32(0)
                    for corner in range(8):
                        ux, uy, uz = np.uint32(corner & 1), np.uint32(corner >> 1 & 1), np.uint32(corner >> 2 & 1)
                        if dense[level]:
                            row = np.uint32(((cz + uz) * sides[level] + cy + uy) * sides[level] + cx + ux)
                        else:
                            row = np.uint32((cx + ux) ^ ((cy + uy) * prime_y) ^ ((cz + uz) * prime_z)) & masks[level]
                        weight = (fx if ux else unit - fx) * (fy if uy else unit - fy) * (fz if uz else unit - fz)
                        one += weight * entries[offsets[level] + row, 0]
                        two += weight * entries[offsets[level] + row, 1]
                    out[i, 2 * level], out[i, 2 * level + 1] = one, two

    x, entries = points.numpy(), table.numpy()

    def run() -> Any:
        out = np.empty((len(x), 2 * spec.levels), np.float32)
        lookup(x, entries, out)
        return out

    assert np.allclose(run(), hash_grid(points, table, spec).numpy(), atol=1e-3)
    return run
