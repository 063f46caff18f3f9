"""Small networks as tiny-cuda-nn stores them (its FullyFusedMLP, and its CutlassMLP since September 2022).

All parameters are one float32 vector: the layers' matrices one after the other, each [outputs, inputs] row by row, with
inputs and outputs rounded up to multiples of 16; no biases. y = W x, ReLU between layers, a linear output. Inputs that
the padding adds are 1, outputs that it adds are dropped.
"""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import torch
from torch import Tensor, nn

from ..cuda.mlp import run_mlp
from ..cuda.optional import fused_mlp
from .pcg import pcg32_uniform

_ALIGNMENT = 16
_SEED = 1337  # of tiny-cuda-nn's bindings


class PackedMLP(nn.Module):
    """`layers` hidden layers of `width`. params: the vector that tiny-cuda-nn's `Network` holds under that name."""

    def __init__(self, inputs: int, outputs: int, width: int, layers: int) -> None:
        super().__init__()
        self.inputs, self.outputs = inputs, outputs
        self.shapes = layer_shapes(inputs, outputs, width, layers)
        self.params = nn.Parameter(torch.empty(sum(m * n for m, n in self.shapes)))
        if not self.params.is_meta:
            self.params.data.copy_(initial(self.shapes))

    def matrices(self) -> list[Tensor]:
        """Views of the parameters, padding included."""
        return unpack(self.params, self.shapes)

    def forward(self, x: Tensor) -> Tensor:
        """[N, inputs] to [N, outputs], of the parameters' type; on a GPU under autocast to float16, of that type and by
        tiny-cuda-nn itself where it is installed."""
        fused = fused_mlp(x, self.params, self.outputs, self.shapes)
        if fused is not None:
            return fused
        first, *rest = self.matrices()
        ones = first[:, self.inputs :].sum(1)  # the columns of inputs that are 1
        weights = [first[:, : self.inputs], *rest[:-1], rest[-1][: self.outputs]]
        return run_mlp([x], weights, [ones, *[None] * len(rest)])


def layer_shapes(inputs: int, outputs: int, width: int, layers: int) -> tuple[tuple[int, int], ...]:
    """[outputs, inputs] of each matrix, with padding."""
    sides = [padded(inputs), *[width] * layers, padded(outputs)]
    return tuple((two, one) for one, two in pairwise(sides))


def padded(size: int) -> int:
    return -(-size // _ALIGNMENT) * _ALIGNMENT


def unpack(params: Tensor, shapes: tuple[tuple[int, int], ...]) -> list[Tensor]:
    """The matrices in a vector, as views. Raises ValueError for another length."""
    sizes = [m * n for m, n in shapes]
    if params.shape != (sum(sizes),):
        raise ValueError(f"networks of shapes {shapes} have {sum(sizes)} parameters, got {tuple(params.shape)}")
    return [part.view(shape) for part, shape in zip(params.split(sizes), shapes, strict=True)]


def initial(shapes: tuple[tuple[int, int], ...], seed: int = _SEED) -> Tensor:
    """What tiny-cuda-nn starts from: Xavier-uniform over the padded matrices, one stream of numbers through all."""
    numbers = pcg32_uniform(np.array([seed]), sum(m * n for m, n in shapes))[0]
    parts, begin = [], 0
    for m, n in shapes:
        limit = np.sqrt(np.float32(6) / np.float32(m + n), dtype=np.float32)
        parts.append((numbers[begin : begin + m * n] * np.float32(2)) * limit - limit)
        begin += m * n
    return torch.as_tensor(np.concatenate(parts))
