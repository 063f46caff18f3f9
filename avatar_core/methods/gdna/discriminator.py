"""Tells pictures of scans from pictures of generated people: StyleGAN2's residual discriminator (Karras et al. 2020),
with the published names of parameters."""

from __future__ import annotations

import math
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional

REAL_WEIGHT, REAL_EVERY = 10.0, 16  # of the penalty on gradients at scans, and the steps from one to the next
_WIDTHS = {4: 512, 8: 512, 16: 512, 32: 512, 64: 256, 128: 128, 256: 64, 512: 32}  # channels by pixels a side
_GROUP = 4  # pictures whose deviation is a feature


class Discriminator(nn.Module):
    """size: pixels a side, 32 to 512. channels: of pictures, 3 for normals."""

    def __init__(self, size: int, channels: int) -> None:
        super().__init__()
        sides = [side for side in sorted(_WIDTHS, reverse=True) if side <= size]
        self.conv_in = nn.Sequential(_Convolution(channels, _WIDTHS[size], 3), _Activation(_WIDTHS[size]))
        blocks = [_Block(_WIDTHS[large], _WIDTHS[small]) for large, small in pairwise(sides)]
        self.layers = nn.Sequential(*blocks)
        last = _WIDTHS[4]
        self.disc_out = nn.ModuleDict(
            {
                "conv_stddev": nn.Sequential(_Convolution(last + 1, last, 3), _Activation(last)),
                "final_linear": nn.Sequential(nn.Flatten(), _Linear(16 * last, last, True), _Linear(last, 1, False)),
            }
        )

    def forward(self, pictures: Tensor) -> Tensor:
        """[B, channels, size, size] in [-1, 1] to logits [B, 1], positive for scans. B: up to 4, or a multiple."""
        hidden = self.layers(self.conv_in(pictures))
        grouped = hidden.unflatten(0, (min(len(hidden), _GROUP), -1))
        deviation = (grouped.var(0, unbiased=False) + 1e-8).sqrt().mean((1, 2, 3))
        plane = deviation.repeat(min(len(hidden), _GROUP))[:, None, None, None].expand(-1, 1, *hidden.shape[2:])
        return self.disc_out["final_linear"](self.disc_out["conv_stddev"](torch.cat([hidden, plane], 1)))


def penalty(discriminator: nn.Module, pictures: Tensor) -> Tensor:
    """Mean squared gradient at real pictures (R1, Mescheder et al. 2018), with gradients of its own."""
    at = pictures.detach().requires_grad_()
    (gradient,) = torch.autograd.grad(discriminator(at).sum(), at, create_graph=True)
    return gradient.square().sum((1, 2, 3)).mean()


class _Convolution(nn.Module):
    """Without bias; weights are scaled when they are used, so that all learn equally fast."""

    def __init__(self, inputs: int, outputs: int, side: int, stride: int = 1) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(outputs, inputs, side, side))
        self._scale, self._stride = 1 / math.sqrt(inputs * side**2), stride
        self._padding = side // 2 if stride == 1 else 0

    def forward(self, x: Tensor) -> Tensor:
        return functional.conv2d(x, self.weight * self._scale, stride=self._stride, padding=self._padding)


class _Linear(nn.Module):
    def __init__(self, inputs: int, outputs: int, active: bool) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(outputs, inputs))
        self.bias = nn.Parameter(torch.zeros(outputs))
        self._scale, self._active = 1 / math.sqrt(inputs), active

    def forward(self, x: Tensor) -> Tensor:
        found = functional.linear(x, self.weight * self._scale, self.bias)
        return functional.leaky_relu(found, 0.2) * math.sqrt(2) if self._active else found


class _Activation(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.bias = nn.Parameter(torch.zeros(channels))

    def forward(self, x: Tensor) -> Tensor:
        return functional.leaky_relu(x + self.bias[:, None, None], 0.2) * math.sqrt(2)


class _Blur(nn.Module):
    """Before every other pixel is taken."""

    kernel: Tensor

    def __init__(self, padding: int) -> None:
        super().__init__()
        line = torch.tensor([1.0, 3, 3, 1]) / 8
        self.register_buffer("kernel", torch.outer(line, line))
        self._padding = padding

    def forward(self, x: Tensor) -> Tensor:
        kernel = self.kernel.expand(x.shape[1], 1, 4, 4)
        return functional.conv2d(x, kernel, padding=self._padding, groups=x.shape[1])


class _Block(nn.Module):
    """Half as many pixels a side."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.conv1 = nn.Sequential(_Convolution(inputs, inputs, 3), _Activation(inputs))
        self.conv2 = nn.Sequential(_Blur(2), _Convolution(inputs, outputs, 3, 2), _Activation(outputs))
        self.skip = nn.Sequential(_Blur(1), _Convolution(inputs, outputs, 1, 2))

    def forward(self, x: Tensor) -> Tensor:
        return (self.conv2(self.conv1(x)) + self.skip(x)) / math.sqrt(2)
