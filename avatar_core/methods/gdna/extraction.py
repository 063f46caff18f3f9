"""A person's occupancy as a mesh: a grid that is refined where the surface passes (MISE, Mescheder et al. 2019), then
marching cubes (Lewiner et al. 2003)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from torch import Tensor

from ...errors import AvatarError

_CHUNK = 1 << 13  # points at once, so that layers stay in the cache
_OUTSIDE = -1e9  # logit beyond the grid, so low that the mesh is closed on the grid's last points
_MAX_POINTS = 1 << 28  # of the finest grid


@dataclass(frozen=True)
class Box:
    """A grid: point i lies at low + cell i, i = 0 ... cells, after `rounds` halvings of a coarse one.

    low: [3] metres. cell: metres. cells: a side, each a multiple of 2^rounds.
    """

    low: np.ndarray
    cell: float
    cells: tuple[int, int, int]
    rounds: int

    def __post_init__(self) -> None:
        if any(side <= 0 or side % (1 << self.rounds) for side in self.cells):
            raise ValueError(f"cells must be multiples of {1 << self.rounds}, got {self.cells}")
        if np.prod([side + 1 for side in self.cells]) > _MAX_POINTS:
            raise AvatarError(f"a grid of {' x '.join(map(str, self.cells))} cells is too fine; use larger cells")

    @classmethod
    def published(cls, vertices: np.ndarray, resolution: int) -> Box:
        """A cube 1.1 times as large as vertices [V, 3]; resolution: 32 times a power of 2, cells a side."""
        low, high = vertices.min(0), vertices.max(0)
        side = 1.1 * float((high - low).max())
        rounds = (resolution // 32).bit_length() - 1
        return cls((low + high) / 2 - side / 2, side / resolution, (resolution,) * 3, rounds)

    @classmethod
    def around(
        cls, vertices: np.ndarray, margin: float, within: tuple[np.ndarray, np.ndarray], cell: float, rounds: int = 3
    ) -> Box:
        """What is within `margin` metres of the bounds of vertices [V, 3], and not outside of the corners `within`."""
        low = np.maximum(vertices.min(0) - margin, within[0])
        high = np.maximum(np.minimum(vertices.max(0) + margin, within[1]), low + cell)
        width, height, depth = (-(-int(np.ceil(side / cell)) >> rounds) << rounds for side in high - low)
        return cls(low, cell, (width, height, depth), rounds)


def extract(
    logits: Callable[[Tensor], Tensor], box: Box, check: Callable[[], None] = lambda: None, polish: int = 0
) -> tuple[np.ndarray, np.ndarray]:
    """Vertices [V, 3] float32 and faces [F, 3] int32 of the piece with the largest area, seen from outside
    counter-clockwise; it is closed, by a flat piece where it leaves the box.

    logits: points [N, 3] to [N], positive inside; both on the CPU. check: called between parts; may raise. polish:
    steps of regula falsi that take vertices along their edges to logit 0: logits are far from linear beside the
    surface, which shows as terraces (published: none). Raises AvatarError where there is no surface. Cells beside new
    signs are refined too, so that limbs thinner than a coarse cell are followed to their ends; the published search
    drops those.
    """
    try:
        from skimage.measure import marching_cubes
    except ImportError as error:
        raise AvatarError("actors of gDNA need scikit-image: pip install 'avatar-core[mesh]'") from error
    values = _refine(logits, box, check)
    if not values.min() < 0 < values.max():
        raise AvatarError("this person has no surface: the codes are too far from those of the training")
    part, start = _around(values)
    vertices, faces, _, _ = marching_cubes(part, 0.0, gradient_direction="ascent")
    vertices = np.clip(vertices.astype(np.float64) + start, 0, box.cells)
    vertices = _polish(logits, vertices, values, box, polish, check)
    places = (box.low + vertices * box.cell).astype(np.float32)
    return largest_piece(places, faces.astype(np.int32))


def _refine(logits: Callable[[Tensor], Tensor], box: Box, check: Callable[[], None]) -> np.ndarray:
    """Values at all points of the box; those far from the surface are right in sign only."""
    values = np.zeros(tuple((side >> box.rounds) + 1 for side in box.cells), np.float32)
    known = np.zeros(values.shape, bool)
    wanted = ~known
    for level in range(box.rounds + 1):
        if level:
            for axis in range(3):
                values = _doubled(values, axis)
            even, known = known, np.zeros(values.shape, bool)
            known[::2, ::2, ::2] = even
            wanted = _corners(_crossed(values)) & ~known
        while len(flat := np.flatnonzero(wanted)):
            index = np.stack(np.unravel_index(flat, values.shape), 1)
            points = torch.as_tensor(box.low + index * (box.cell * 2 ** (box.rounds - level)), dtype=torch.float32)
            found = []
            for part in points.split(_CHUNK):
                check()
                found.append(logits(part))
            values.reshape(-1)[flat] = torch.cat(found).numpy()
            known |= wanted
            wanted = _corners(_crossed(values)) & ~known
    return values


def _polish(
    logits: Callable[[Tensor], Tensor],
    vertices: np.ndarray,
    values: np.ndarray,
    box: Box,
    steps: int,
    check: Callable[[], None],
) -> np.ndarray:
    """Vertices [V, 3] in cells, moved along the edges that they lie on; those inside of a cell stay."""
    low, high = np.floor(vertices), np.ceil(vertices)
    on = np.flatnonzero((low != high).sum(1) == 1)
    low, high = low[on], high[on]
    a, b = (values[tuple(end.astype(int).T)].astype(np.float64) for end in (low, high))
    first, last, at = np.zeros(len(on)), np.ones(len(on)), a / (a - b)
    for _ in range(steps):
        points = torch.as_tensor(box.low + (low + at[:, None] * (high - low)) * box.cell, dtype=torch.float32)
        found = []
        for part in points.split(_CHUNK):
            check()
            found.append(logits(part))
        value = torch.cat(found).numpy().astype(np.float64)
        below = np.sign(value) == np.sign(a)  # Illinois: the end that stays counts half
        a, b = np.where(below, value, a / 2), np.where(below, b / 2, value)
        first, last = np.where(below, at, first), np.where(below, last, at)
        at = np.clip(first + (last - first) * a / np.where(a == b, 1, a - b), 0, 1)
    moved = vertices.copy()
    moved[on] = low + at[:, None] * (high - low)
    return moved


def _crossed(values: np.ndarray) -> np.ndarray:
    """Cells with corners on both sides."""
    below, above = values <= 0, values >= 0
    for axis in range(3):
        before, after = _ends(axis)
        below, above = below[before] | below[after], above[before] | above[after]
    return below & above


def _corners(cells: np.ndarray) -> np.ndarray:
    """Points that are corners of cells."""
    for axis in range(3):
        before, after = _ends(axis)
        points = np.zeros([side + (number == axis) for number, side in enumerate(cells.shape)], bool)
        points[before] = cells
        points[after] |= cells
        cells = points
    return cells


def _doubled(values: np.ndarray, axis: int) -> np.ndarray:
    """2 n - 1 values for n: means between them."""
    before, after = _ends(axis)
    shape, odd = list(values.shape), (*before[:axis], slice(1, None, 2))
    shape[axis] += shape[axis] - 1
    doubled = np.empty(shape, np.float32)
    doubled[(*before[:axis], slice(None, None, 2))] = values
    np.add(values[before], values[after], out=doubled[odd])
    doubled[odd] /= 2
    return doubled


def _ends(axis: int) -> tuple[tuple[slice, ...], tuple[slice, ...]]:
    """All but the last, and all but the first, along an axis."""
    before, after = [slice(None)] * 3, [slice(None)] * 3
    before[axis], after[axis] = slice(None, -1), slice(1, None)
    return tuple(before), tuple(after)


def _around(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """What is inside with a point more to each side, beyond the grid _OUTSIDE, and the index of its first point."""
    inside = values > 0
    spans = [np.flatnonzero(inside.any(tuple({0, 1, 2} - {axis}))) for axis in range(3)]
    bounds = [(int(span[0]) - 1, int(span[-1]) + 2) for span in spans]
    within = tuple(slice(max(low, 0), high) for low, high in bounds)
    widths = [(int(low < 0), int(high > side)) for (low, high), side in zip(bounds, values.shape)]
    return np.pad(values[within], widths, constant_values=_OUTSIDE), np.array([low for low, _ in bounds])


def largest_piece(vertices: np.ndarray, faces: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Vertices [V, 3] and faces [F, 3] of the connected part of a mesh that has the largest area."""
    links = np.concatenate([faces[:, :2], faces[:, 1:]])
    shape = len(vertices), len(vertices)
    _, piece = connected_components(coo_array((np.ones(len(links), bool), tuple(links.T)), shape), directed=False)
    a, b, c = vertices[faces].transpose(1, 0, 2)
    areas = np.bincount(piece[faces[:, 0]], np.linalg.norm(np.cross(b - a, c - a), axis=1))
    keep = piece == areas.argmax()
    number = np.cumsum(keep, dtype=np.int32) - 1
    return vertices[keep], number[faces[keep[faces[:, 0]]]]
