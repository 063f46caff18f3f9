"""Latent image to picture: a U-Net of convolutions that the person's appearance modulates."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from .layers import GAIN, SLOPE, ModulatedConv, SecondMomentNorm, blur

DEPTH = 4  # halvings; sides of latent images are multiples of 2^4
_WIDEST = 3  # doublings of the channels
_MIDDLE = 2
BLUR = 5

Run = Callable[[Any, Tensor], Tensor]


class StyledLayer(nn.Module):
    """[blur] - second-moment norm - modulated convolution - [blur] - leaky ReLU."""

    def __init__(
        self,
        style: int,
        inputs: int,
        outputs: int,
        size: int = 3,
        stride: int = 1,
        up: bool = False,
        last: bool = False,
    ) -> None:
        """last: without demodulation and activation."""
        super().__init__()
        self.n = SecondMomentNorm(inputs)
        self.c = ModulatedConv(style, inputs, outputs, size, stride, up, plain=last)
        self.down, self.up, self.last = stride == 2, up, last

    def forward(self, x: Tensor, style: Tensor) -> Tensor:
        x = blur(x, BLUR) if self.down else x
        y = self.c(x, style, self.n(x), 1.0 if self.last else GAIN)  # the activation's gain may come before it
        y = blur(y, BLUR) if self.up else y
        return y if self.last else functional.leaky_relu(y, SLOPE)


class Decoder(nn.Module):
    """Modules are named as in the published checkpoints.

    style: values of an appearance, limbs by features. latent: channels of the latent image. base: channels of the
    first layers. enlarge: how often the picture is doubled after the U-Net. outputs: 3 colours, or 4 with alpha.
    """

    def __init__(self, style: int, latent: int = 16, base: int = 64, enlarge: int = 0, outputs: int = 3) -> None:
        super().__init__()
        self.outputs, self.enlarge = outputs, enlarge
        widths = [base << min(level, _WIDEST) for level in range(DEPTH + 1)]

        def layer(inputs: int, outs: int, **options: Any) -> StyledLayer:
            return StyledLayer(style, inputs, outs, **options)

        self.in_block = nn.ModuleList([layer(latent, latent), layer(latent, base)])
        self.down_blocks = nn.ModuleList(
            nn.ModuleList([layer(a, a, stride=2), layer(a, b)]) for a, b in itertools.pairwise(widths)
        )
        top = widths[-1]
        self.mid_blocks = nn.ModuleList(nn.ModuleList([layer(top, top), layer(top, top)]) for _ in range(_MIDDLE))
        up = list(zip(widths[:0:-1], widths[-2::-1]))
        self.up_blocks = nn.ModuleList(nn.ModuleList([layer(a, b, up=True)]) for a, b in up)
        self.merge_blocks = nn.ModuleList(nn.ModuleList([layer(2 * b, b)]) for _, b in up)
        outer = [base >> min(level, _WIDEST) for level in range(enlarge + 1)]
        self.outer_blocks = nn.ModuleList(
            nn.ModuleList([layer(a, b, up=True), layer(b, b)]) for a, b in itertools.pairwise(outer)
        )
        self.out_block = nn.ModuleList([layer(outer[-1], outputs, size=1, last=True)])

    def forward(self, latent: Tensor, style: Tensor) -> Tensor:
        """latent: [B, C, H, W]. style: [B, S]. [B, 3 or 4, H', W'], about 0 to 1, not clamped: display sRGB, and alpha
        where there are four. Raises ValueError for sides that are no multiples of 16."""
        latent = latent.contiguous(memory_format=torch.channels_last)  # some times faster on CPUs, blurs above all
        return network(self, latent, lambda layer, x: layer(x, style))


def network(decoder: nn.Module, latent: Tensor, run: Run) -> Tensor:
    """The picture when `run(layer, x)` is what a layer gives: how layers are connected, whatever they are made of."""
    x, skips = descend(decoder, latent, run)
    for up, merge in zip(decoder.up_blocks, decoder.merge_blocks):  # type: ignore[arg-type]
        x = _through(merge, torch.cat([_through(up, x, run), skips.pop()], 1), run)
    for block in decoder.outer_blocks:  # type: ignore[union-attr]
        x = _through(block, x, run)
    return (_through(decoder.out_block, x, run) + 1) / 2


def descend(decoder: nn.Module, latent: Tensor, run: Run) -> tuple[Tensor, list[Tensor]]:
    """What the layers up to the smallest give, and what is carried past them, the largest first."""
    if latent.shape[2] % (1 << DEPTH) or latent.shape[3] % (1 << DEPTH):
        raise ValueError(f"sides of latent images are multiples of {1 << DEPTH}, got {tuple(latent.shape[2:])}")
    x = _through(decoder.in_block, latent, run)
    skips = []
    for block in decoder.down_blocks:  # type: ignore[union-attr]
        skips.append(x)
        x = _through(block, x, run)
    for block in decoder.mid_blocks:  # type: ignore[union-attr]
        x = (x + _through(block, x, run)) / math.sqrt(2)
    return x, skips


def _through(block: Any, x: Tensor, run: Run) -> Tensor:
    for layer in block:
        x = run(layer, x)
    return x
