"""The K nearest points within a radius, exactly: a grid of cells in a table of buckets (see neighbours.h), whose memory
grows with the number of points and not with their bounding box; without kernels, SciPy's tree.

Order is by squared distance, in float32, then by index. A point at exactly the radius is a neighbour. What is not
finite is no one's neighbour and has none.
"""

from __future__ import annotations

import ctypes
import math

import numpy as np
import torch
from torch import Tensor

from .arguments import pointer
from .loader import choose, kernels
from .threads import parallel, thread_count

MOST = 64  # neighbours a query, as in neighbours.h
_LARGER = 1 + 1e-5  # cell sizes over radii, against rounding
_BUCKETS = 4  # a point, about
_PADDING = 16  # what the kernel may read behind the sorted coordinates
_BLOCK = 128  # CUDA threads


class NeighbourGrid:
    """Points [P, 3], P < 2^31, metres, that answer queries within `radius` metres. Native for float32, else the
    reference. Raises ValueError."""

    def __init__(self, points: Tensor, radius: float) -> None:
        _check(points, "points")
        if not 1e-15 < radius < 1e15:
            raise ValueError(f"a radius must lie between 1e-15 and 1e15, got {radius}")
        self.points, self.radius = points, radius
        self._backend = choose(points) if points.dtype == torch.float32 else "reference"
        if self._backend != "reference":
            self._build(points.detach().contiguous())

    def query(self, queries: Tensor, count: int) -> tuple[Tensor, Tensor]:
        """Of queries [N, 3]: indices [N, count] int64, -1 where there are fewer, and squared distances [N, count],
        infinite there; differentiable with respect to queries and points. Raises ValueError."""
        _check(queries, "queries")
        if queries.dtype != self.points.dtype:
            raise ValueError(f"queries must be {self.points.dtype} as the points are, got {queries.dtype}")
        choose(queries, self.points)
        if not 1 <= count <= MOST:
            raise ValueError(f"1 to {MOST} neighbours can be asked for, got {count}")
        if self._backend == "reference":
            indices, distance2 = neighbours_reference(queries.detach(), self.points.detach(), self.radius, count)
        else:
            indices, distance2 = self._query(queries.detach().contiguous(), count)
        if torch.is_grad_enabled() and (queries.requires_grad or self.points.requires_grad):
            distance2 = _distances(queries, self.points, indices)
        return indices, distance2

    def _build(self, points: Tensor) -> None:
        count, device = len(points), points.device
        self._mask = _mask(count)
        self._size = self.radius * _LARGER
        if self._backend == "cuda":
            from .device import launch

            buckets = torch.empty(count, dtype=torch.int64, device=device)
            shape = ctypes.c_double(self._size), ctypes.c_uint(self._mask)
            launch("neighbours", "neighbours_buckets", _grid(count), (_BLOCK, 1, 1), points, *shape, buckets, count)
            buckets, order = buckets.sort(stable=True)
            edges = torch.arange(self._mask + 2, device=device)
            self._starts, self._order = torch.searchsorted(buckets, edges, out_int32=True), order.int()
            self._sorted = points[order].T.contiguous()
        else:
            self._starts, self._order = self._sort(points, self._mask)
            self._sorted = points.new_empty(3, count + _PADDING)
            arguments = pointer(points), pointer(self._order), pointer(self._sorted)
            parallel(kernels().neighbours_gather, (*arguments, ctypes.c_longlong(count + _PADDING)), count)

    def _sort(self, points: Tensor, mask: int) -> tuple[Tensor, Tensor]:
        """Starts of buckets, and points' indices by bucket."""
        starts = points.new_zeros(mask + 4, dtype=torch.int32)
        order = points.new_empty(len(points), dtype=torch.int32)
        shape = ctypes.c_longlong(len(points)), ctypes.c_double(self._size), ctypes.c_uint(mask)
        kernels().neighbours_sort(pointer(points), *shape, pointer(starts), pointer(order))
        return starts[1:], order

    def _query(self, queries: Tensor, count: int) -> tuple[Tensor, Tensor]:
        indices = torch.empty(len(queries), count, dtype=torch.int64, device=queries.device)
        distance2 = queries.new_empty(len(queries), count)
        numbers = (
            ctypes.c_longlong(self._sorted.shape[1]),
            ctypes.c_double(self._size),
            ctypes.c_uint(self._mask),
            ctypes.c_float(self.radius * self.radius),
            ctypes.c_int(count),
        )
        tables, results = (self._starts, self._order, self._sorted), (indices, distance2)
        if self._backend == "cuda":
            from .device import launch

            arguments = *tables, *numbers, queries, *results, len(queries)
            launch("neighbours", "neighbours_query", _grid(len(queries)), (_BLOCK, 1, 1), *arguments)
        else:
            _, turns = self._sort(queries, min(self._mask, _mask(len(queries))))
            native = *map(pointer, tables), *numbers, pointer(queries), pointer(turns), *map(pointer, results)
            parallel(kernels().neighbours_query, native, len(queries), least=256)
        return indices, distance2


def neighbours(queries: Tensor, points: Tensor, radius: float, count: int) -> tuple[Tensor, Tensor]:
    """`NeighbourGrid(points, radius).query(queries, count)`, for points that are asked once."""
    return NeighbourGrid(points, radius).query(queries, count)


def neighbours_reference(queries: Tensor, points: Tensor, radius: float, count: int) -> tuple[Tensor, Tensor]:
    """The definition, by SciPy's tree, for any float type and device; not differentiable."""
    from scipy.spatial import cKDTree

    bound = torch.tensor(radius * radius, dtype=points.dtype, device=points.device)
    indices = torch.full((len(queries), count), -1, device=points.device)
    kept = points.isfinite().all(1).nonzero()[:, 0]
    asked = queries.isfinite().all(1).nonzero()[:, 0]
    if len(kept) and len(asked):
        tree = cKDTree(points[kept].double().cpu().numpy())
        targets = queries[asked].double().cpu().numpy()
        wanted = min(2 * count, len(kept))
        while True:  # until no tie and no rounding can hide a neighbour
            far, found = tree.query(targets, wanted, distance_upper_bound=radius * _LARGER, workers=thread_count())
            far, found = far.reshape(len(asked), wanted), found.reshape(len(asked), wanted)
            margin = far[:, min(count, wanted) - 1] * _LARGER
            if wanted == len(kept) or not (np.isfinite(far[:, -1]) & (far[:, -1] <= margin)).any():
                break
            wanted = min(2 * wanted, len(kept))
        candidates = torch.from_numpy(found).to(points.device)
        candidates = torch.cat([kept, kept.new_tensor([-1])])[candidates].sort(1).values
        distance2 = _distances(queries[asked], points, candidates)
        distance2, order = distance2.masked_fill(distance2 > bound, torch.inf).sort(dim=1, stable=True)
        chosen = candidates.gather(1, order).masked_fill(distance2.isinf(), -1)[:, :count]
        indices[asked, : chosen.shape[1]] = chosen
    return indices, _distances(queries, points, indices)


def _distances(queries: Tensor, points: Tensor, indices: Tensor) -> Tensor:
    """Squared distances [N, K] to indices [N, K], infinite where -1."""
    missing = indices < 0
    if len(points) == 0:
        return queries.new_full(indices.shape, math.inf)
    difference = queries[:, None] - points[indices.clamp(min=0)]
    difference = torch.where(missing[..., None], 0, difference)
    return difference.square().sum(-1).masked_fill(missing, math.inf)


def _mask(count: int) -> int:
    """Buckets for this many points, less one; the number is a power of two from 16 to 2^28."""
    return (1 << min(28, max(4, (_BUCKETS * count - 1).bit_length()))) - 1


def _grid(count: int) -> tuple[int, int, int]:
    return -(-count // _BLOCK), 1, 1


def _check(points: Tensor, name: str) -> None:
    if points.dim() != 2 or points.shape[1] != 3 or not points.is_floating_point():
        raise ValueError(f"{name} must be [N, 3] floats, got {tuple(points.shape)} {points.dtype}")
