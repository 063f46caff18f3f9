"""3 x 3 convolutions by matrix products with a fraction of the multiplications (Lavin and Gray 2016, F(m x m, 3 x 3)).

A tile of 4 x 4 pixels that is wanted, from 6 x 6 that it depends on, is a product of polynomials: 36 multiplications at
points instead of 144; one of 2 x 2 takes 16 instead of 36. The points 0, 1, -1, 1/2, -2 and infinity keep single
precision to twice the rounding of the plain sum; the usual ones, with 2 in place of 1/2, to three times.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

_POINTS = {2: (0.0, 1.0, -1.0), 4: (0.0, 1.0, -1.0, 0.5, -2.0)}  # and infinity
_FITS = 1 << 19  # numbers of a stripe of tiles that stay in a core's cache
_HEAVY = 1 << 21  # numbers of transformed weights that are worth being read only once


class Winograd(nn.Module):
    """conv2d(x, weight, bias, padding=1) on CPUs, two to four times faster where there are some tens of channels and
    hundreds of pixels."""

    weight: Tensor
    bias: Tensor
    into: Tensor
    back: Tensor

    def __init__(self, weight: Tensor, bias: Tensor, tile: int = 4) -> None:
        """weight: [O, C, 3, 3]. bias: [O]. tile: 4, for weights of four times the memory; or 2, 1.8 times, where
        pictures are so small that reading the weights is most of the work."""
        super().__init__()
        into, middle, back = (torch.kron(matrix, matrix).to(weight) for matrix in _matrices(tile))
        taps = weight.permute(2, 3, 1, 0).reshape(9, -1)
        self.tile, self.seen = tile, tile + 2
        self.register_buffer("weight", (middle @ taps).view(-1, weight.shape[1], weight.shape[0]))
        self.register_buffer("bias", bias)
        self.register_buffer("into", into)
        self.register_buffer("back", back)

    def forward(self, *inputs: Tensor, slope: float = 1.0) -> Tensor:
        """[B, O, H, W], channels last, of inputs [B, C, H, W] whose channels, one after the other, are the weight's.
        slope: of the leaky ReLU that follows."""
        count, _, height, width = inputs[0].shape
        products, channels, outputs = self.weight.shape
        tile, down, across = self.tile, -(-height // self.tile), -(-width // self.tile)
        padded = inputs[0].new_zeros(count, tile * down + 2, tile * across + 2, channels)
        parts = padded[:, 1 : height + 1, 1 : width + 1].split([x.shape[1] for x in inputs], 3)
        for part, x in zip(parts, inputs):
            part.copy_(x.permute(0, 2, 3, 1))
        found = padded.new_empty(count, down, tile, across, tile, outputs)
        stripe = max(1, _FITS // (products * count * across * channels))
        stripe = down if self.weight.numel() > _HEAVY else stripe
        for first in range(0, down, stripe):
            rows = min(stripe, down - first)
            tiles = self._tiles(padded[:, tile * first :], rows, across)
            points = (self.into @ tiles.view(products, -1)).view(products, -1, channels)
            made = torch.bmm(points, self.weight).view(products, -1)
            y = (self.back @ made).view(tile, tile, count, rows, across, outputs)
            y = functional.leaky_relu_(y.add_(self.bias), slope)
            found[:, first : first + rows] = y.permute(2, 3, 0, 4, 1, 5)
        picture = found.view(count, tile * down, tile * across, outputs)[:, :height, :width]
        return picture.permute(0, 3, 1, 2)

    def _tiles(self, x: Tensor, rows: int, across: int) -> Tensor:
        """[seen, seen, B, rows, columns, C] of a padded [B, h, w, C]: what the first rows of tiles depend on."""
        picture, row, column, one = x.stride()
        size = self.seen, self.seen, len(x), rows, across, x.shape[3]
        strides = row, column, picture, self.tile * row, self.tile * column, one
        return x.as_strided(size, strides).contiguous()


def _matrices(tile: int) -> tuple[Tensor, Tensor, Tensor]:
    """Of what is seen [s, s], of the weights [s, 3] and of the result [tile, s], by Lagrange's interpolation: what is
    seen times the polynomials that are zero at all other points; weights at a point over what its polynomial is there.
    """
    points = torch.tensor(_POINTS[tile], dtype=torch.float64)
    size = len(points) + 1
    others = [torch.cat([points[:i], points[i + 1 :]]) for i in range(len(points))]
    scale = torch.stack([(point - rest).prod() for point, rest in zip(points, others)])
    into = torch.zeros(size, size, dtype=torch.float64)
    for i, roots in enumerate([*others, points]):
        polynomial = torch.ones(1, dtype=torch.float64)
        for root in roots:
            zero = torch.zeros(1, dtype=torch.float64)
            polynomial = torch.cat([zero, polynomial]) - root * torch.cat([polynomial, zero])
        into[i, : len(polynomial)] = polynomial
    powers = points[:, None] ** torch.arange(tile + 1)
    infinity = torch.eye(max(tile, 3), dtype=torch.float64)
    middle = torch.cat([powers[:, :3] / scale[:, None], infinity[None, 2, :3]])
    return into, middle, torch.cat([powers[:, :tile].T, infinity[:tile, tile - 1, None]], 1)
