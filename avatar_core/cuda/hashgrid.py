"""Multi-resolution hash grid (Mueller et al. 2022): the reference in PyTorch, and the native kernel around it.

Level l has scale s_l = base growth^l - 1 and r_l = ceil(s_l) + 2 grid points a side. A point x in [0, 1]^3 lies at
p = x s_l + 0.5; its eight surrounding grid points are mixed trilinearly. A level with r_l^3 <= 2^log2_size has a row a
grid point; others have 2^log2_size rows, and grid point (i, j, k) reads row
(i xor 2654435761 j xor 805459861 k) mod 2^log2_size.
"""

from __future__ import annotations

import ctypes
import math
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from .loader import kernels, library, pointer
from .threads import parallel

_PRIMES = (1, 2654435761, 805459861)


@dataclass(frozen=True)
class HashGridSpec:
    """The shape of a grid. Levels are stored one after the other in a table [parameters, features]."""

    levels: int
    features: int
    log2_size: int
    base_resolution: int
    growth: float

    def __post_init__(self) -> None:
        if not (1 <= self.levels <= 32 and 1 <= self.features <= 8 and 4 <= self.log2_size <= 24):
            raise ValueError(f"hash grid needs 1-32 levels, 1-8 features, log2_size 4-24, got {self}")
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

    points: [N, 3] in [0, 1] (clamped; NaN counts as 0). table: [spec.parameters, features].
    Native for float32 on the CPU with two
    features, else the reference. Raises ValueError for other shapes.
    """
    _check(points, table, spec)
    simple = points.dtype == table.dtype == torch.float32 and points.device.type == "cpu" and spec.features == 2
    if simple and library() is not None:
        return _HashGrid.apply(points, table, spec)
    return hash_grid_reference(points, table, spec)


def hash_grid_reference(points: Tensor, table: Tensor, spec: HashGridSpec) -> Tensor:
    """The definition, in PyTorch, for any float type and device."""
    _check(points, table, spec)
    outputs = []
    points = points.nan_to_num(0.0).clamp(0, 1)
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
    return torch.cat(outputs, 1) if outputs else points.new_zeros(len(points), 0)


class _HashGrid(torch.autograd.Function):
    @staticmethod
    def forward(ctx, points: Tensor, table: Tensor, spec: HashGridSpec) -> Tensor:  # type: ignore[no-untyped-def]
        points, table = points.contiguous(), table.contiguous()
        out = points.new_empty(len(points), spec.levels * 2)
        arguments = pointer(points), pointer(table), spec.native_levels, spec.levels, pointer(out)
        parallel(kernels().hashgrid_forward, arguments, len(points))
        ctx.save_for_backward(points, table)
        ctx.spec = spec
        return out

    @staticmethod
    def backward(ctx, grad: Tensor):  # type: ignore[no-untyped-def]
        points, table = ctx.saved_tensors
        spec, grad = ctx.spec, grad.contiguous()
        grad_points = grad_table = None
        if ctx.needs_input_grad[1]:
            grad_table = torch.zeros_like(table)
            arguments = (
                pointer(points),
                pointer(grad),
                spec.native_levels,
                spec.levels,
                ctypes.c_longlong(len(points)),
            )
            parallel(kernels().hashgrid_backward_table, (*arguments, pointer(grad_table)), spec.levels, least=1)
        if ctx.needs_input_grad[0]:
            grad_points = torch.empty_like(points)
            arguments = pointer(points), pointer(table), pointer(grad), spec.native_levels, spec.levels
            parallel(kernels().hashgrid_backward_points, (*arguments, pointer(grad_points)), len(points))
        return grad_points, grad_table, None


def _check(points: Tensor, table: Tensor, spec: HashGridSpec) -> None:
    if points.dim() != 2 or points.shape[1] != 3:
        raise ValueError(f"hash grid points must be [N, 3], got {tuple(points.shape)}")
    if tuple(table.shape) != (spec.parameters, spec.features):
        raise ValueError(f"hash grid table must be {(spec.parameters, spec.features)}, got {tuple(table.shape)}")
    if points.device != table.device or not points.is_floating_point() or points.dtype != table.dtype:
        raise ValueError(
            f"hash grid points and table must have one float type and device, got {points.dtype} on {points.device} "
            f"and {table.dtype} on {table.device}"
        )
