"""The decoder of one person: modulation, demodulation and norms are constants then, and fold into plain weights."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from .decoder import BLUR, Decoder, StyledLayer, network
from .layers import SLOPE, blur


class FoldedDecoder(nn.Module):
    """The picture that `decoder` in evaluation gives for one style [S], sooner; in any float type, channels last."""

    def __init__(self, decoder: Decoder, style: Tensor, dtype: torch.dtype) -> None:
        super().__init__()
        for name in ("in_block", "out_block"):
            setattr(self, name, _folded(getattr(decoder, name), style, dtype))
        for name in ("down_blocks", "mid_blocks", "up_blocks", "merge_blocks", "outer_blocks"):
            blocks = getattr(decoder, name)
            setattr(self, name, nn.ModuleList(_folded(block, style, dtype) for block in blocks))
        self.dtype = dtype

    @torch.no_grad()
    def forward(self, latent: Tensor) -> Tensor:
        """latent: [B, C, H, W] of any float type. [B, 3 or 4, H', W'] float32."""
        x = latent.to(self.dtype, memory_format=torch.channels_last)
        return network(self, x, lambda layer, x: layer(x)).float()


def _folded(block: nn.ModuleList, style: Tensor, dtype: torch.dtype) -> nn.ModuleList:
    return nn.ModuleList(_Folded(layer, style, dtype) for layer in block)  # type: ignore[arg-type]


class _Folded(nn.Module):
    weight: Tensor
    bias: Tensor

    @torch.no_grad()
    def __init__(self, layer: StyledLayer, style: Tensor, dtype: torch.dtype) -> None:
        super().__init__()
        self.layer = layer.c.convolve
        self.down, self.up, self.last = layer.down, layer.up, layer.last
        inputs, outputs = layer.c.factors(style[None])
        inputs = inputs[0] / layer.n.root()
        outputs = torch.ones(len(layer.c.bias)).to(inputs) if outputs is None else outputs[0]
        weight = layer.c.weight * layer.c.scale
        first, second = (inputs, outputs) if self.up else (outputs, inputs)
        weight = weight * first[:, None, None, None] * second[:, None, None]
        gain = 1.0 if self.last else math.sqrt(2)  # a leaky ReLU lets it through
        self.register_buffer("weight", (gain * weight).to(dtype, memory_format=torch.channels_last))
        self.register_buffer("bias", (gain * layer.c.bias).to(dtype))

    def forward(self, x: Tensor) -> Tensor:
        y = self.layer(blur(x, BLUR) if self.down else x, self.weight, self.bias)
        y = blur(y, BLUR) if self.up else y
        return y if self.last else functional.leaky_relu_(y, SLOPE)
