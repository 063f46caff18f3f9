"""LPIPS, how different two pictures look to people (Zhang et al. 2018), version 0.1 on AlexNet: the metric of papers.

The weights are the user's: the state dict of `lpips.LPIPS(net="alex")`, saved once where the package lpips is.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import max_pool2d

from avatar_core.nn.network_files import read_tensors, take

_CONVOLUTIONS = (  # number, channels in and out, size, stride, padding
    (0, 3, 64, 11, 4, 2),
    (3, 64, 192, 5, 1, 2),
    (6, 192, 384, 3, 1, 1),
    (8, 384, 256, 3, 1, 1),
    (10, 256, 256, 3, 1, 1),
)
_POOLED = (3, 6)  # convolutions with a pooling before them
_SHIFT, _SCALE = (-0.030, -0.088, -0.188), (0.458, 0.448, 0.450)  # of colours in [-1, 1]
SMALLEST = 32  # pixels a side of a picture


class LPIPS(nn.Module):
    """weights: a file. Raises AvatarError with one sentence when it is missing, foreign or damaged."""

    def __init__(self, weights: Path) -> None:
        super().__init__()
        state = read_tensors(weights, "the state dict of lpips.LPIPS(net='alex')")
        self.layers, shares = nn.ModuleList(), []
        for level, (number, inputs, outputs, size, stride, padding) in enumerate(_CONVOLUTIONS):
            layer = nn.Conv2d(inputs, outputs, size, stride, padding)
            for name, parameter in layer.named_parameters():
                published = f"net.slice{level + 1}.{number}.{name}"
                parameter.data = take(state, (published,), tuple(parameter.shape), weights)
            self.layers.append(layer)
            shares.append(take(state, (f"lin{level}.model.1.weight",), (1, outputs, 1, 1), weights)[0])
        self.shares = nn.ParameterList(shares)
        self.requires_grad_(False)

    def forward(self, one: np.ndarray, two: np.ndarray) -> float:
        """Two [H, W, 3] pictures, display sRGB in [0, 1], of at least 32 pixels a side; 0 for equal ones."""
        x = torch.as_tensor(np.stack([one, two]), device=self.shares[0].device).permute(0, 3, 1, 2).float()
        x = (2 * x - 1 - x.new_tensor(_SHIFT).view(3, 1, 1)) / x.new_tensor(_SCALE).view(3, 1, 1)
        total = 0.0
        for (number, *_), layer, share in zip(_CONVOLUTIONS, self.layers, self.shares):
            x = torch.relu(layer(max_pool2d(x, 3, 2) if number in _POOLED else x))
            a, b = _unit(x)
            total += float((share * (a - b).square()).sum(0).mean())
        return total


def _unit(x: Tensor) -> Tensor:
    return x / (x.square().sum(1, keepdim=True).sqrt() + 1e-10)
