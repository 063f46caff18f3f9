"""Where there may be points: most samples of a ray are far from all of them, and need not be asked."""

from __future__ import annotations

import torch
from torch import Tensor

_SIDE = 128  # cells a side; space repeats after so many
_STEPS = 2  # cells a radius
_LARGER = 1.001  # cells than that, against rounding


class Vicinity:
    """Cubic cells near points [N, 3], as a table that wraps around: its size does not depend on where points are, and
    what is far apart and shares a cell is asked in vain, no more."""

    def __init__(self, points: Tensor, radius: float) -> None:
        self._size = radius * _LARGER / _STEPS
        table = torch.zeros(_SIDE**3, dtype=torch.bool, device=points.device)
        table[self._cells(points[points.isfinite().all(1)])] = True
        table = table.view(_SIDE, _SIDE, _SIDE)
        for axis in range(3):
            for _ in range(_STEPS):
                table = table | table.roll(1, axis) | table.roll(-1, axis)
        self._table = table.flatten()

    def holds(self, places: Tensor) -> Tensor:
        """[S] bool: false where no point lies within the radius of places [S, 3]."""
        return self._table[self._cells(places)]

    def _cells(self, places: Tensor) -> Tensor:
        """[S] places in the table."""
        x, y, z = ((places / self._size).floor().to(torch.int32) & (_SIDE - 1)).unbind(1)
        return ((x * _SIDE + y) * _SIDE + z).long()
