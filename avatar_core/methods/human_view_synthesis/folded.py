"""The decoder of one person: modulation, demodulation and norms are constants then, and fold into plain weights."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from ...nn.winograd import Winograd
from .decoder import BLUR, Decoder, StyledLayer, descend, network
from .layers import SLOPE, blur

_SPREAD = 2  # pixels that the first two convolutions reach
_REACH = 6  # even, and no less than what a blur, a convolution of stride 2 and one more reach
_MANY = 64  # channels from which on Winograd's convolutions are faster
_MARGIN = 2  # pixels before doubling that its last ones need: one, the blur two after it, a convolution one


class FoldedDecoder(nn.Module):
    """The picture that `decoder` in evaluation gives for one style [S], sooner; in any float type, channels last."""

    down_blocks: nn.ModuleList
    mid_blocks: nn.ModuleList
    up_blocks: nn.ModuleList
    merge_blocks: nn.ModuleList
    outer_blocks: nn.ModuleList
    out_block: nn.ModuleList

    def __init__(self, decoder: Decoder, style: Tensor, dtype: torch.dtype) -> None:
        super().__init__()
        small = [decoder.down_blocks[-1][1], *itertools.chain(*decoder.mid_blocks)]  # type: ignore[index]

        def folded(block: Any) -> nn.ModuleList:
            return nn.ModuleList(_Folded(layer, style, dtype, 2 if layer in small else 4) for layer in block)

        for name in ("in_block", "out_block"):
            setattr(self, name, folded(getattr(decoder, name)))
        for name in ("down_blocks", "mid_blocks", "up_blocks", "merge_blocks", "outer_blocks"):
            setattr(self, name, nn.ModuleList(folded(block) for block in getattr(decoder, name)))
        self.dtype = dtype
        self._empty: list[Tensor] | None = None  # features of a picture without anybody, from the largest on

    @torch.no_grad()
    def forward(self, latent: Tensor, box: Box | None = None) -> Tensor:
        """[B, 3 or 4, H', W'] float32 of a latent image [B, C, H, W] of any float type.

        box: rows and columns of the picture that are wanted; the others are zero, and most of the work for them is left
        out. Before the smallest layer, what is not near a Gaussian is as in an empty picture, which is made once.
        """
        x = latent.to(self.dtype, memory_format=torch.channels_last)
        if box is None:
            return network(self, x, lambda layer, x: layer(x)).float()
        x, skips = self._descended(x)
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
            at = wanted.scaled(2)
            smallest = smallest.scaled(2)
            wanted = boxes.pop().within(smallest)
            seen = wanted.grown(1).within(at)
            x = seen.of(x, at)
            x, at = merge(x, seen.of(skips.pop(), None)) if skips else merge(x), seen
        found = (self.out_block[0](wanted.of(x, at)).float() + 1) / 2
        picture = found.new_zeros(len(found), found.shape[1], smallest.bottom, smallest.right)
        picture[:, :, wanted.top : wanted.bottom, wanted.left : wanted.right] = found
        return picture

    def _descended(self, latent: Tensor) -> tuple[Tensor, list[Tensor]]:
        """As descend() does, but for where the latent image is empty."""
        if self._empty is None or self._empty[0].shape[2:] != latent.shape[2:]:
            self._empty = descend(self, torch.zeros_like(latent[:1]), lambda layer, x: layer(x))[1]
        some = (latent != 0).any(0).any(0)
        rows, columns = (torch.nonzero(some.any(axis)).flatten().tolist() for axis in (1, 0))
        if not rows:
            rows = columns = [0]
        box = Box(rows[0], rows[-1] + 1, columns[0], columns[-1] + 1).grown(_SPREAD)
        x = _patched(self.in_block, latent, self._empty[0], box, _SPREAD, 1)
        skips = []
        for block, rest in zip(self.down_blocks, self._empty[1:]):
            skips.append(x)
            box = box.after_halving()
            x = _patched(block, x, rest, box, _REACH, 2)
        skips.append(x)
        x = _through(self.down_blocks[-1], x)
        for block in self.mid_blocks:
            x = (x + _through(block, x)) / math.sqrt(2)
        return x, skips


def _through(block: Any, x: Tensor) -> Tensor:
    for layer in block:
        x = layer(x)
    return x


def _patched(block: Any, x: Tensor, rest: Tensor, box: Box, need: int, stride: int) -> Tensor:
    """What a block gives, if that is `rest` outside of the box, which depends on `need` pixels around it."""
    whole = Box(0, rest.shape[2], 0, rest.shape[3])
    box = box.within(whole)
    seen = box.scaled(stride).grown(need).within(whole.scaled(stride))
    made = _through(block, seen.of(x, None))
    result = rest.expand(len(x), -1, -1, -1).clone(memory_format=torch.channels_last)
    top, left = box.top - seen.top // stride, box.left - seen.left // stride
    height, width = box.bottom - box.top, box.right - box.left
    result[:, :, box.top : box.bottom, box.left : box.right] = made[:, :, top : top + height, left : left + width]
    return result


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

    def after_halving(self) -> Box:
        """What changes behind a blur, a convolution of stride 2 and one more where this changes before them."""
        low, high = ((self.top - 3) // 2 - 1, (self.left - 3) // 2 - 1), (self.bottom + 2, self.right + 2)
        return Box(low[0], high[0] // 2 + 2, low[1], high[1] // 2 + 2)

    def grown(self, margin: int) -> Box:
        return Box(self.top - margin, self.bottom + margin, self.left - margin, self.right + margin)

    def scaled(self, factor: int) -> Box:
        return Box(factor * self.top, factor * self.bottom, factor * self.left, factor * self.right)

    def within(self, other: Box) -> Box:
        top, left = max(self.top, other.top), max(self.left, other.left)
        return Box(top, max(min(self.bottom, other.bottom), top), left, max(min(self.right, other.right), left))

    def of(self, x: Tensor, at: Box | None) -> Tensor:
        """This part of [B, C, h, w], which is at a box of the picture, or the whole of it."""
        top, left = (0, 0) if at is None else (at.top, at.left)
        return x[:, :, self.top - top : self.bottom - top, self.left - left : self.right - left]


class _Folded(nn.Module):
    weight: Tensor
    bias: Tensor

    @torch.no_grad()
    def __init__(self, layer: StyledLayer, style: Tensor, dtype: torch.dtype, tile: int) -> None:
        """tile: of Winograd's convolutions."""
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
        weight, bias = gain * weight, gain * layer.c.bias
        quick = dtype == torch.float32 and weight.device.type == "cpu" and min(weight.shape[:2]) >= _MANY
        self.quick = Winograd(weight, bias, tile) if quick and not (self.down or self.up or self.last) else None
        if self.quick is None:
            self.register_buffer("weight", weight.to(dtype, memory_format=torch.channels_last))
            self.register_buffer("bias", bias.to(dtype))

    def forward(self, *inputs: Tensor) -> Tensor:
        """Of [B, C, H, W] whose channels are taken together."""
        if self.quick is not None:
            return self.quick(*inputs, slope=SLOPE)
        x = torch.cat(inputs, 1) if len(inputs) > 1 else inputs[0]
        y = self.layer(blur(x, BLUR) if self.down else x, self.weight, self.bias)
        y = blur(y, BLUR) if self.up else y
        return y if self.last else functional.leaky_relu_(y, SLOPE)
