"""Which pixels a training step looks at: a grid, then where errors are, then patches (NPVA, section 3.5)."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

CELLS = 8  # a side, of error maps
SIDE = 340  # pixels of a patch; as many as its square are drawn by errors
_STEP = 4 / 1334, 6 / 2048  # of the grid, in shares of width and height
_RATE = 0.1  # at which a cell forgets its errors


def grid_pixels(width: int, height: int, rng: np.random.Generator) -> np.ndarray:
    """[N, 2] x, y: every second column and third row of a picture of 667 x 1024, from a random corner on."""
    step = [max(1, int(share * side)) for share, side in zip(_STEP, (width, height), strict=True)]
    first = rng.integers(0, step)
    columns, rows = np.meshgrid(np.arange(first[0], width, step[0]), np.arange(first[1], height, step[1]))
    return np.stack([columns.ravel(), rows.ravel()], 1)


def error_pixels(errors: np.ndarray, width: int, height: int, count: int, rng: np.random.Generator) -> np.ndarray:
    """[count, 2] x, y: cells of `errors` [CELLS, CELLS] in proportion to them, places within a cell at random. A grid
    where all errors are 0."""
    total = errors.sum()
    if not total > 0:
        return grid_pixels(width, height, rng)
    wanted = np.rint(errors.ravel() / total * count).astype(np.int64)
    wanted[wanted.argmax()] += count - wanted.sum()
    cell = np.repeat(np.arange(CELLS * CELLS), wanted)
    corner = np.stack([cell % CELLS, cell // CELLS], 1) + rng.random((len(cell), 2))
    return np.minimum(corner / CELLS * (width, height), (width - 1, height - 1)).astype(np.int64)


def patch_pixels(mask: np.ndarray, side: int, rng: np.random.Generator) -> np.ndarray:
    """[side * side, 2] x, y, row by row, of a square around a random pixel of the mask [H, W], moved into the picture;
    in its middle where the mask is empty. A picture smaller than `side` gives a smaller square."""
    height, width = mask.shape
    side = min(side, height, width)
    inside = np.flatnonzero(mask)
    middle = divmod(int(rng.choice(inside)), width) if len(inside) else (height // 2, width // 2)
    top, left = (int(np.clip(at - side // 2, 0, whole - side)) for at, whole in zip(middle, mask.shape, strict=True))
    rows, columns = np.mgrid[top : top + side, left : left + side]
    return np.stack([columns.ravel(), rows.ravel()], 1)


def record_errors(cells: Tensor, pixels: Tensor, errors: Tensor, width: int, height: int) -> None:
    """Moves the running mean of colour errors in a picture's cells [CELLS, CELLS], in place, by those [N] of pixels
    [N, 2] x, y. The released code divides a map by its sum after each update, which mixes shares with errors."""
    cell = (pixels * CELLS // pixels.new_tensor((width, height))).clamp(0, CELLS - 1)
    place = cell[:, 1] * CELLS + cell[:, 0]
    counts = torch.bincount(place, minlength=CELLS * CELLS).view_as(cells)
    mean = torch.bincount(place, errors.double(), CELLS * CELLS).view_as(cells) / counts
    moved = torch.where(cells == 0, mean, (1 - _RATE) * cells + _RATE * mean)
    cells.copy_(torch.where(counts > 0, moved, cells))
