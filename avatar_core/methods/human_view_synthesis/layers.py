"""Layers of the decoder and the discriminator: equalised and modulated convolutions, blurs, second-moment norms."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

_EPSILON = 1e-8
_MOMENTUM = 0.995
SLOPE, GAIN = 0.2, math.sqrt(2)  # of the activation: below zero, and of all of it
BINOMIAL = {3: (1.0, 2.0, 1.0), 5: (1.0, 4.0, 6.0, 4.0, 1.0)}


def activate(x: Tensor) -> Tensor:
    return functional.leaky_relu(x, SLOPE) * GAIN


def blur(x: Tensor, size: int) -> Tensor:
    """A binomial filter of `size` taps a side, zeros around the picture."""
    row = torch.tensor(BINOMIAL[size], dtype=x.dtype, device=x.device)
    row, channels = row / row.sum(), x.shape[1]
    across = row.view(1, 1, 1, size).expand(channels, 1, 1, size)
    x = functional.conv2d(x, across, padding=(0, size // 2), groups=channels)
    return functional.conv2d(x, across.transpose(2, 3), padding=(size // 2, 0), groups=channels)


class EqualConv(nn.Module):
    """A convolution whose weights are of unit variance and divided by the root of their number when used."""

    def __init__(self, inputs: int, outputs: int, size: int, stride: int = 1, bias: bool = True) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(outputs, inputs, size, size))
        self.bias = nn.Parameter(torch.zeros(outputs)) if bias else None
        self.stride, self.scale = stride, 1 / math.sqrt(inputs * size * size)

    def forward(self, x: Tensor) -> Tensor:
        padding = self.weight.shape[2] // 2
        return functional.conv2d(x, self.weight * self.scale, self.bias, self.stride, padding)


class EqualLinear(nn.Module):
    def __init__(self, inputs: int, outputs: int, bias: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(outputs, inputs))
        self.bias = nn.Parameter(torch.full((outputs,), bias))

    def forward(self, x: Tensor) -> Tensor:
        return functional.linear(x, self.weight / math.sqrt(self.weight.shape[1]), self.bias)


class ModulatedConv(nn.Module):
    """A convolution whose inputs a style scales and whose outputs are scaled back to unit variance.

    Scaling weights for every picture of a batch, as published, is scaling inputs and outputs of one convolution.
    up: transposed, twice the size.
    """

    def __init__(
        self,
        style: int,
        inputs: int,
        outputs: int,
        size: int = 3,
        stride: int = 1,
        up: bool = False,
        plain: bool = False,
    ) -> None:
        """plain: outputs are not scaled back."""
        super().__init__()
        first, second = (inputs, outputs) if up else (outputs, inputs)
        self.weight = nn.Parameter(torch.randn(first, second, size, size))
        self.bias = nn.Parameter(torch.zeros(outputs))
        self.linear = EqualLinear(style, inputs, bias=1.0)
        self.stride, self.up, self.plain = stride, up, plain
        self.scale = 1 / math.sqrt(inputs * size * size)

    def factors(self, style: Tensor) -> tuple[Tensor, Tensor | None]:
        """Of the inputs [B, Cin] and of the outputs [B, Cout], for a style [B, S]."""
        modulation = self.linear(style)
        if self.plain:
            return modulation, None
        energy = (self.weight * self.scale).square().sum((2, 3))  # [Cout, Cin], or transposed
        energy = energy if self.up else energy.T
        return modulation, 1 / ((modulation.square() @ energy).sqrt() + _EPSILON)

    def convolve(self, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        if self.up:
            return functional.conv_transpose2d(x, weight, bias, stride=2, padding=1, output_padding=1)
        return functional.conv2d(x, weight, bias, self.stride, weight.shape[2] // 2)

    def forward(self, x: Tensor, style: Tensor, divisor: Tensor, gain: float) -> Tensor:
        """divisor: [Cin], of the inputs. gain: of what comes out."""
        inputs, outputs = self.factors(style)
        inputs = inputs * (self.scale / divisor)
        outputs = torch.ones_like(self.bias)[None] if outputs is None else outputs
        y = self.convolve(x * inputs[:, :, None, None], self.weight, None)
        return torch.addcmul((gain * self.bias)[:, None, None], y, (gain * outputs)[:, :, None, None])


class RunningSquare(nn.Module):
    """The running mean of squares of every channel."""

    average: Tensor
    initialised: Tensor

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.register_buffer("average", torch.ones(channels))
        self.register_buffer("initialised", torch.tensor(False))

    @torch.no_grad()
    def update(self, x: Tensor) -> None:
        found = x.square().mean((0, 2, 3)).to(self.average)
        kept = torch.where(self.initialised, self.average, found)
        self.average.copy_(_MOMENTUM * kept + (1 - _MOMENTUM) * found)
        self.initialised.fill_(True)


class SecondMomentNorm(nn.Module):
    """What channels are divided by: the root of their running mean square, in training too."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.ema = RunningSquare(channels)

    def root(self) -> Tensor:
        return self.ema.average.sqrt().clamp(min=_EPSILON)

    def forward(self, x: Tensor) -> Tensor:
        """[C] for [B, C, H, W]."""
        if self.training:
            self.ema.update(x)
        return self.root().to(x)
