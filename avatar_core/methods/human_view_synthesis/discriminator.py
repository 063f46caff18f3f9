"""Which patches of a picture are real: the critic of adversarial training."""

from __future__ import annotations

import itertools
import math

from torch import Tensor, nn

from .layers import EqualConv, activate, blur

_WIDTHS = (32, 64, 128, 256, 256)
_BLUR = 3


class Discriminator(nn.Module):
    """Modules are named as in the published checkpoints."""

    def __init__(self, channels: int = 3) -> None:
        super().__init__()
        self.layers = nn.ModuleList(
            [
                _Activated(channels, _WIDTHS[0], 1),
                *(_Residual(a, b) for a, b in itertools.pairwise(_WIDTHS)),
                _Linear(_WIDTHS[-1]),
            ]
        )

    def forward(self, images: Tensor) -> tuple[Tensor, list[Tensor]]:
        """[B, 3, H, W] to logits [B, 1, H/16, W/16] and the features of the five layers before them."""
        features = []
        x = images
        for layer in self.layers[:-1]:
            x = layer(x)
            features.append(x)
        return self.layers[-1](x), features


class _Activated(nn.Module):
    def __init__(self, inputs: int, outputs: int, size: int, stride: int = 1, bias: bool = True) -> None:
        super().__init__()
        self.c = EqualConv(inputs, outputs, size, stride, bias)
        self.down = stride == 2

    def forward(self, x: Tensor) -> Tensor:
        return activate(self.c(blur(x, _BLUR) if self.down else x))


class _Linear(nn.Module):
    def __init__(self, inputs: int) -> None:
        super().__init__()
        self.c = EqualConv(inputs, 1, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.c(x)


class _Residual(nn.Module):
    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.residual = nn.Sequential(_Activated(inputs, inputs, 3), _Activated(inputs, outputs, 3, stride=2))
        self.shortcut = _Activated(inputs, outputs, 1, stride=2, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return (self.residual(x) + self.shortcut(x)) / math.sqrt(2)
