"""Multi-resolution hash grid (Mueller et al. 2022): the reference in PyTorch, and the kernels around it.

Level l has scale s_l = base growth^l - 1 and r_l = ceil(s_l) + 2 grid points a side. A point x in [0, 1]^3 lies at
p = x s_l + 0.5; its eight surrounding grid points are mixed trilinearly. A level with r_l^3 <= 2^log2_size has a row a
grid point; others have 2^log2_size rows, and grid point (i, j, k) reads row
(i xor 2654435761 j xor 805459861 k) mod 2^log2_size.

`hash_grid_blended` mixes K tables by K coefficients, as NeRFBlendShape (Gao et al. 2022) does once a frame.
"""

from __future__ import annotations

import ctypes
import math
from dataclasses import dataclass
from functools import cache, cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor

from .arguments import pointer
from .device import launch
from .loader import choose, kernels
from .threads import parallel

_PRIMES = (1, 2654435761, 805459861)
_TYPES = {torch.float32: 0, torch.float16: 1, torch.bfloat16: 2}  # of tables, as the kernels number them
_SLICES = 4  # of the points, at most, whose gradients are added up apart: work for more threads than there are levels
_THREADS = 256  # a block on a GPU
_LOOKUP_COST = 64  # rows of a table that are mixed in the time in which one point is looked up


@dataclass(frozen=True)
class HashGridSpec:
    """The shape of a grid. Levels are stored one after the other in a table [parameters, features]."""

    levels: int
    features: int
    log2_size: int
    base_resolution: int
    growth: float

    def __post_init__(self) -> None:
        if not (1 <= self.levels <= 32 and self.features in (1, 2, 4, 8) and 4 <= self.log2_size <= 24):
            raise ValueError(f"hash grid needs 1-32 levels, 1, 2, 4 or 8 features, log2_size 4-24, got {self}")
        if not (self.base_resolution >= 2 and self.growth >= 1 and self.scales[-1] < 1 << 20):
            raise ValueError(f"hash grid resolutions must lie between 2 and 2^20, got {self}")

    @cached_property
    def scales(self) -> tuple[float, ...]:
        return tuple(self.base_resolution * self.growth**level - 1 for level in range(self.levels))

    @cached_property
    def resolutions(self) -> tuple[int, ...]:
        return tuple(math.ceil(scale - 1e-6) + 2 for scale in self.scales)

    @cached_property
    def sizes(self) -> tuple[int, ...]:
        return tuple(min(resolution**3, 1 << self.log2_size) for resolution in self.resolutions)

    @cached_property
    def offsets(self) -> tuple[int, ...]:
        return tuple(sum(self.sizes[:level]) for level in range(self.levels))

    @property
    def parameters(self) -> int:
        return sum(self.sizes)

    def dense(self, level: int) -> bool:
        return self.resolutions[level] ** 3 <= 1 << self.log2_size

    @cached_property
    def native_levels(self) -> ctypes.Array[_Level]:
        """What the kernels read of each level."""
        return (_Level * self.levels)(
            *(
                _Level(self.offsets[i], self.sizes[i], self.resolutions[i], self.scales[i], int(self.dense(i)))
                for i in range(self.levels)
            )
        )


class _Level(ctypes.Structure):
    _fields_ = (
        ("offset", ctypes.c_longlong),
        ("size", ctypes.c_uint),
        ("resolution", ctypes.c_uint),
        ("scale", ctypes.c_float),
        ("dense", ctypes.c_uint),
    )


def hash_grid(points: Tensor, table: Tensor, spec: HashGridSpec) -> Tensor:
    """Features of points: [N, levels * features], level by level. Differentiable with respect to both tensors.

    points: [N, 3] in [0, 1] (clamped; NaN counts as 0). table: [spec.parameters, features] of the points' type, or
    float16 or bfloat16: sums, features and the kernels' gradients have the points' type, and autograd rounds the
    gradient of a table to the table's type. There are kernels for float32 points; others go to the reference. Raises
    ValueError for other shapes and types.
    """
    _check(points, table, spec)
    if points.dtype == torch.float32 and choose(points, table) != "reference":
        return _HashGrid.apply(points, table, spec)
    return hash_grid_reference(points, table, spec)


def hash_grid_blended(points: Tensor, tables: Tensor, coefficients: Tensor, spec: HashGridSpec) -> Tensor:
    """Features of points in the table sum_k coefficients[k] tables[k]. Differentiable with respect to all tensors.

    points: [N, 3]. tables: [K, spec.parameters, features], float32. coefficients: [K], of one frame. Few points are
    looked up in each table; for more, the tables are mixed first. Whoever calls for one frame several times should
    call `blend_tables` once, and then `hash_grid`. Raises ValueError for other shapes.
    """
    _check_blend(tables, coefficients)
    if len(points) * _LOOKUP_COST < spec.parameters:
        used = coefficients.nonzero()[:, 0].tolist() if not coefficients.requires_grad else range(len(coefficients))
        looked_up = [coefficients[k] * hash_grid(points, tables[k], spec) for k in used]
        return torch.stack(looked_up).sum(0) if looked_up else hash_grid(points, tables[0] * 0, spec)
    return hash_grid(points, blend_tables(tables, coefficients), spec)


def blend_tables(tables: Tensor, coefficients: Tensor, factors: list[tuple[Tensor, Tensor]] | None = None) -> Tensor:
    """sum_k coefficients[k] tables[k]: [rows, features] of [K, rows, features] and [K], both of one float type.

    With `factors`, the tables get no gradient:
    backward appends (coefficients, gradient of the mix) to that list instead, whose outer product the gradient is.
    K times smaller, it is what `SparseAdam` takes. Raises ValueError for other shapes.
    """
    _check_blend(tables, coefficients)
    return _Blend.apply(tables, coefficients, factors)


def hash_grid_reference(points: Tensor, table: Tensor, spec: HashGridSpec) -> Tensor:
    """The definition, in PyTorch, for any float type and device."""
    _check(points, table, spec)
    outputs = []
    points, table = points.nan_to_num(0.0).clamp(0, 1), table.to(points.dtype)
    corners = torch.tensor([[c & 1, c >> 1 & 1, c >> 2 & 1] for c in range(8)], device=points.device)
    for level in range(spec.levels):
        position = points * spec.scales[level] + 0.5
        cell = position.detach().floor()
        fraction = (position - cell)[:, None]  # [N, 1, 3]
        grid = cell.long()[:, None] + corners  # [N, 8, 3]
        if spec.dense(level):
            side = spec.resolutions[level]
            row = (grid[..., 2] * side + grid[..., 1]) * side + grid[..., 0]
        else:
            mixed = grid[..., 0] ^ (grid[..., 1] * _PRIMES[1]) ^ (grid[..., 2] * _PRIMES[2])
            row = mixed & (spec.sizes[level] - 1)
        weight = torch.where(corners.bool(), fraction, 1 - fraction).prod(-1)  # [N, 8]
        outputs.append((weight[..., None] * table[spec.offsets[level] + row]).sum(1))
    return torch.cat(outputs, 1)


class _HashGrid(torch.autograd.Function):
    @staticmethod
    def forward(ctx, points: Tensor, table: Tensor, spec: HashGridSpec) -> Tensor:  # type: ignore[no-untyped-def]
        points, table = points.contiguous(), table.contiguous()
        ctx.save_for_backward(points, table)
        ctx.spec = spec
        shape = len(points), spec.levels * spec.features
        if choose(points) == "cuda":
            out = points.new_empty(shape)
            _launch("hashgrid_forward", spec.levels, points, table, *_layout(table), *_levels(spec, points), out)
        else:
            # NumPy asks for huge pages: a large result is not a page fault every 4 kB
            out = torch.from_numpy(np.empty(shape, np.float32))
            arguments = pointer(points), pointer(table), *_layout(table), *_levels(spec, points), pointer(out)
            parallel(kernels().hashgrid_forward, arguments, len(points))
        return out

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, grad: Tensor):  # type: ignore[no-untyped-def]
        points, table = ctx.saved_tensors
        grad = grad.contiguous()
        grad_points = _grad_points(points, table, grad, ctx.spec) if ctx.needs_input_grad[0] else None
        grad_table = _grad_table(points, grad, ctx.spec) if ctx.needs_input_grad[1] else None
        return grad_points, grad_table, None


def _grad_table(points: Tensor, grad: Tensor, spec: HashGridSpec) -> Tensor:
    """[spec.parameters, features]. On the CPU, slices of the points have tables of their own, which are then added in
    order: the result does not depend on the number of threads."""
    if choose(points) == "cuda":
        total = points.new_zeros(spec.parameters, spec.features)
        _launch("hashgrid_backward_table", spec.levels, points, grad, spec.features, *_levels(spec, points), total)
        return total
    slices = max(1, min(_SLICES, len(points) // (4 * max(spec.sizes))))
    totals = points.new_zeros(slices, spec.parameters, spec.features)
    arguments = (
        *(pointer(points), pointer(grad), spec.features, *_levels(spec, points), ctypes.c_longlong(len(points))),
        *(slices, ctypes.c_longlong(spec.parameters), pointer(totals)),
    )
    parallel(kernels().hashgrid_backward_table, arguments, spec.levels * slices, least=1)
    return totals[0] if slices == 1 else totals.sum(0)


def _grad_points(points: Tensor, table: Tensor, grad: Tensor, spec: HashGridSpec) -> Tensor:
    out = torch.empty_like(points)
    if choose(points) == "cuda":
        _launch("hashgrid_backward_points", 1, points, table, grad, *_layout(table), *_levels(spec, points), out)
    else:
        arguments = pointer(points), pointer(table), pointer(grad), *_layout(table), *_levels(spec, points)
        parallel(kernels().hashgrid_backward_points, (*arguments, pointer(out)), len(points))
    return out


def _levels(spec: HashGridSpec, points: Tensor) -> tuple[Any, int]:
    """The kernels' description of the levels, where they can read it, and how many there are."""
    if points.is_cuda:
        return _device_levels(spec, points.device), spec.levels
    return spec.native_levels, spec.levels


@cache
def _device_levels(spec: HashGridSpec, device: torch.device) -> Tensor:
    return torch.frombuffer(bytearray(spec.native_levels), dtype=torch.uint8).to(device)


def _layout(table: Tensor) -> tuple[int, int]:
    return table.shape[1], _TYPES[table.dtype]


def _launch(kernel: str, levels: int, points: Tensor, *arguments: Any) -> None:
    """One thread a point, and a row of blocks a level."""
    blocks = -(-len(points) // _THREADS)
    launch("hashgrid", kernel, (blocks, levels, 1), (_THREADS, 1, 1), points, *arguments, len(points))


class _Blend(torch.autograd.Function):
    @staticmethod
    def forward(ctx, tables: Tensor, coefficients: Tensor, factors):  # type: ignore[no-untyped-def]
        ctx.save_for_backward(tables, coefficients)
        ctx.factors = factors
        return (coefficients @ tables.flatten(1)).view_as(tables[0])

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, grad: Tensor):  # type: ignore[no-untyped-def]
        tables, coefficients = ctx.saved_tensors
        grad_tables = grad_coefficients = None
        if ctx.factors is not None:
            ctx.factors.append((coefficients.detach(), grad.contiguous()))
        elif ctx.needs_input_grad[0]:
            grad_tables = coefficients[:, None, None] * grad
        if ctx.needs_input_grad[1]:
            grad_coefficients = tables.flatten(1) @ grad.flatten()
        return grad_tables, grad_coefficients, None


def _check(points: Tensor, table: Tensor, spec: HashGridSpec) -> None:
    if points.dim() != 2 or points.shape[1] != 3:
        raise ValueError(f"hash grid points must be [N, 3], got {tuple(points.shape)}")
    if tuple(table.shape) != (spec.parameters, spec.features):
        raise ValueError(f"hash grid table must be {(spec.parameters, spec.features)}, got {tuple(table.shape)}")
    types = (points.dtype, torch.float16, torch.bfloat16)
    if points.device != table.device or not points.is_floating_point() or table.dtype not in types:
        raise ValueError(
            "hash grid points and table must have one device and one float type (a table may be float16 or bfloat16), "
            f"got {points.dtype} on {points.device} and {table.dtype} on {table.device}"
        )


def _check_blend(tables: Tensor, coefficients: Tensor) -> None:
    if tables.dim() != 3 or len(tables) == 0 or tuple(coefficients.shape) != tables.shape[:1]:
        raise ValueError(
            "blended tables must be [K, rows, features] with coefficients [K], "
            f"got {tuple(tables.shape)} and {tuple(coefficients.shape)}"
        )
    if tables.device != coefficients.device or tables.dtype != coefficients.dtype or not tables.is_floating_point():
        raise ValueError(
            "blended tables and coefficients must have one float type and device, "
            f"got {tables.dtype} on {tables.device} and {coefficients.dtype} on {coefficients.device}"
        )
