"""3 x 3 convolutions by matrix products with a quarter of the multiplications (Lavin and Gray 2016, F(4 x 4, 3 x 3)).

A tile of 4 x 4 pixels that is wanted, from 6 x 6 that it depends on, is a product of polynomials: 36 multiplications at
points instead of 144. The points 0, 1, -1, 1/2, -2 and infinity keep single precision to twice the rounding of the
plain sum; the usual ones, with 2 in place of 1/2, to five times (Barabasz et al. 2020).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

_TILE, _REACH = 4, 6
_POINTS = (0.0, 1.0, -1.0, 0.5, -2.0)
_FITS = 1 << 19  # numbers of a stripe of tiles that stay in a core's cache
_HEAVY = 1 << 21  # numbers of transformed weights that are worth being read only once


class Winograd(nn.Module):
    """conv2d(x, weight, bias, padding=1) on CPUs, two to four times faster where there are some tens of channels and
    hundreds of pixels; its weights take four times the memory."""

    weight: Tensor
    bias: Tensor
    into: Tensor
    back: Tensor

    def __init__(self, weight: Tensor, bias: Tensor) -> None:
        """weight: [O, C, 3, 3]. bias: [O]."""
        super().__init__()
        into, middle, back = (torch.kron(matrix, matrix).to(weight) for matrix in _matrices())
        taps = weight.permute(2, 3, 1, 0).reshape(9, -1)
        self.register_buffer("weight", (middle @ taps).view(_REACH**2, weight.shape[1], weight.shape[0]))
        self.register_buffer("bias", bias)
        self.register_buffer("into", into)
        self.register_buffer("back", back)

    def forward(self, *inputs: Tensor, slope: float = 1.0) -> Tensor:
        """[B, O, H, W], channels last, of inputs [B, C, H, W] whose channels, one after the other, are the weight's.
        slope: of the leaky ReLU that follows."""
        count, _, height, width = inputs[0].shape
        down, across = -(-height // _TILE), -(-width // _TILE)
        margins = 0, 0, 1, _TILE * across - width + 1, 1, _TILE * down - height + 1
        padded = [functional.pad(x.permute(0, 2, 3, 1), margins) for x in inputs]
        weights = self.weight.split([x.shape[1] for x in inputs], 1)
        outputs = self.weight.shape[2]
        found = inputs[0].new_empty(count, down, _TILE, across, _TILE, outputs)
        row = _REACH**2 * count * across * max(x.shape[1] for x in inputs)
        stripe = down if self.weight.numel() > _HEAVY else max(1, min(down, _FITS // row))
        for first in range(0, down, stripe):
            rows = min(stripe, down - first)
            made = None
            for x, weight in zip(padded, weights):
                seen = (self.into @ _tiles(x, first, rows).view(_REACH**2, -1)).view(_REACH**2, -1, x.shape[3])
                made = torch.bmm(seen, weight) if made is None else made.baddbmm_(seen, weight)
            assert made is not None
            y = (self.back @ made.view(_REACH**2, -1)).view(_TILE, _TILE, count, rows, across, outputs)
            y = functional.leaky_relu_(y.add_(self.bias), slope)
            found[:, first : first + rows] = y.permute(2, 3, 0, 4, 1, 5)
        picture = found.view(count, _TILE * down, _TILE * across, outputs)[:, :height, :width]
        return picture.permute(0, 3, 1, 2)


def _tiles(x: Tensor, first: int, rows: int) -> Tensor:
    """[6, 6, B, rows, columns, C] of a padded [B, h, w, C]: what rows of tiles from `first` on depend on."""
    count, _, width, channels = x.shape
    across = (width - _REACH) // _TILE + 1
    picture, row, column, one = x.stride()
    size = _REACH, _REACH, count, rows, across, channels
    strides = row, column, picture, _TILE * row, _TILE * column, one
    start = x.storage_offset() + first * _TILE * row
    return x.as_strided(size, strides, start).contiguous()


def _matrices() -> tuple[Tensor, Tensor, Tensor]:
    """Of what is seen [6, 6], of the weights [6, 3] and of the result [4, 6], by Lagrange's interpolation: what is seen
    times the polynomials that are zero at all other points; weights at a point over what its polynomial is there."""
    points = torch.tensor(_POINTS, dtype=torch.float64)
    others = [torch.cat([points[:i], points[i + 1 :]]) for i in range(len(points))]
    scale = torch.stack([(point - rest).prod() for point, rest in zip(points, others)])
    into = torch.zeros(_REACH, _REACH, dtype=torch.float64)
    for i, roots in enumerate([*others, points]):
        polynomial = torch.ones(1, dtype=torch.float64)
        for root in roots:
            zero = torch.zeros(1, dtype=torch.float64)
            polynomial = torch.cat([zero, polynomial]) - root * torch.cat([polynomial, zero])
        into[i, : len(polynomial)] = polynomial
    powers = points[:, None] ** torch.arange(_TILE)
    last = torch.tensor([[0.0, 0.0, 1.0]], dtype=torch.float64)
    middle = torch.cat([powers[:, :3] / scale[:, None], last])
    end = torch.tensor([[0.0], [0.0], [0.0], [1.0]], dtype=torch.float64)
    return into, middle, torch.cat([powers.T, end], 1)
