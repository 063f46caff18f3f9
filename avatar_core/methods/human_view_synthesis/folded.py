"""The decoder of one person: modulation, demodulation and norms are constants then, and fold into plain weights."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from .decoder import BLUR, Decoder, StyledLayer, descend, network
from .layers import SLOPE, blur

_MARGIN = 2  # pixels before doubling that its last ones need: one, the blur two after it, a convolution one


class FoldedDecoder(nn.Module):
    """The picture that `decoder` in evaluation gives for one style [S], sooner; in any float type, channels last."""

    up_blocks: nn.ModuleList
    merge_blocks: nn.ModuleList
    outer_blocks: nn.ModuleList
    out_block: nn.ModuleList

    def __init__(self, decoder: Decoder, style: Tensor, dtype: torch.dtype) -> None:
        super().__init__()
        for name in ("in_block", "out_block"):
            setattr(self, name, _folded(getattr(decoder, name), style, dtype))
        for name in ("down_blocks", "mid_blocks", "up_blocks", "merge_blocks", "outer_blocks"):
            blocks = getattr(decoder, name)
            setattr(self, name, nn.ModuleList(_folded(block, style, dtype) for block in blocks))
        self.dtype = dtype

    @torch.no_grad()
    def forward(self, latent: Tensor, box: Box | None = None) -> Tensor:
        """[B, 3 or 4, H', W'] float32 of a latent image [B, C, H, W] of any float type.

        box: rows and columns of the picture that are wanted; the others are zero and most of the work for them, which
        is in the layers after the smallest, is left out.
        """
        x = latent.to(self.dtype, memory_format=torch.channels_last)
        if box is None:
            return network(self, x, lambda layer, x: layer(x)).float()
        x, skips = descend(self, x, lambda layer, x: layer(x))
        layers = [layer for block in self.outer_blocks for layer in block]  # type: ignore[attr-defined]
        ups = [*(block[0] for block in self.up_blocks), *layers[::2]]  # type: ignore[index]
        merges = [*(block[0] for block in self.merge_blocks), *layers[1::2]]  # type: ignore[index]
        boxes = [box]
        for _ in ups:  # from the picture back to the smallest layer
            boxes.append(boxes[-1].halved())
        smallest = Box(0, x.shape[2], 0, x.shape[3])
        wanted, at = boxes.pop().within(smallest), smallest
        for up, merge in zip(ups, merges):
            x = up(wanted.of(x, at))
            at = wanted.doubled()
            if skips:
                x = torch.cat([x, at.of(skips.pop(), None)], 1)
            x = merge(x)
            whole = Box(0, smallest.bottom * 2, 0, smallest.right * 2)
            smallest, wanted = whole, boxes.pop().within(whole)
        found = (self.out_block[0](wanted.of(x, at)).float() + 1) / 2
        picture = found.new_zeros(len(found), found.shape[1], smallest.bottom, smallest.right)
        picture[:, :, wanted.top : wanted.bottom, wanted.left : wanted.right] = found
        return picture


@dataclass(frozen=True)
class Box:
    """Rows from top to before bottom, columns from left to before right, of a picture."""

    top: int
    bottom: int
    left: int
    right: int

    def halved(self) -> Box:
        """What a layer that doubles the picture, its blur and the convolution behind it need to make this right."""
        margin = _MARGIN
        low, high = (self.top // 2 - margin, self.left // 2 - margin), (-(-self.bottom // 2), -(-self.right // 2))
        return Box(low[0], high[0] + margin, low[1], high[1] + margin)

    def doubled(self) -> Box:
        return Box(2 * self.top, 2 * self.bottom, 2 * self.left, 2 * self.right)

    def within(self, other: Box) -> Box:
        top, left = max(self.top, other.top), max(self.left, other.left)
        return Box(top, max(min(self.bottom, other.bottom), top), left, max(min(self.right, other.right), left))

    def of(self, x: Tensor, at: Box | None) -> Tensor:
        """This part of [B, C, h, w], which is at a box of the picture, or the whole of it."""
        top, left = (0, 0) if at is None else (at.top, at.left)
        return x[:, :, self.top - top : self.bottom - top, self.left - left : self.right - left]


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
