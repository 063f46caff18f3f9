"""Where there may be points: most samples of a ray are far from all of them, and need not be asked."""

from __future__ import annotations

import itertools

import torch
from torch import Tensor

_SIDE = 128  # cells a side; space repeats after so many
_LARGER = 1.001  # cells than the radius, against rounding


class Vicinity:
    """Cubic cells near points [N, 3], as a table that wraps around: its size does not depend on where points are, and
    what is far apart and shares a cell is asked in vain, no more."""

    def __init__(self, points: Tensor, radius: float) -> None:
        self._size = radius * _LARGER
        cells = self._cells(points[points.isfinite().all(1)])
        self._table = torch.zeros(_SIDE**3, dtype=torch.bool, device=points.device)
        cells = torch.stack(torch.unravel_index(_keys(cells).unique(), (_SIDE,) * 3), 1)
        for offset in itertools.product((-1, 0, 1), repeat=3):
            self._table[_keys(cells + torch.tensor(offset, device=cells.device))] = True

    def holds(self, places: Tensor) -> Tensor:
        """[S] bool: false where no point lies within the radius of places [S, 3]."""
        return self._table[_keys(self._cells(places))]

    def _cells(self, places: Tensor) -> Tensor:
        return (places / self._size).floor().to(torch.int32)


def _keys(cells: Tensor) -> Tensor:
    x, y, z = (cells & (_SIDE - 1)).unbind(1)
    return ((x * _SIDE + y) * _SIDE + z).long()
