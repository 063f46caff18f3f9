"""How different two pictures look to VGG-16, on three scales: LPIPS (Zhang et al. 2018) where the file has its weights.

Nothing is downloaded. The file is torchvision's `vgg16` state dict, or that of `lpips.LPIPS(net="vgg")`, saved once
where those packages are.
"""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn.functional import conv2d, interpolate, max_pool2d

from ..network_files import read_tensors, take

_STAGES = ((0, 2), (5, 7), (10, 12, 14), (17, 19, 21), (24, 26, 28))  # convolutions by number; pooled in between
_CHANNELS = (64, 128, 256, 512, 512)
_FIXED = (1 / 32, 1 / 16, 1 / 8, 1 / 4, 1.0)  # of the stages, without LPIPS' weights
_MEAN, _STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # of ImageNet, display sRGB
_SCALES = 3
_EPSILON = 1e-10


class VggDistance(nn.Module):
    """weights: a file. Raises AvatarError with one sentence when it is missing, foreign or damaged."""

    def __init__(self, weights: Path) -> None:
        super().__init__()
        state = read_tensors(weights, "torchvision's vgg16 state dict, or that of lpips.LPIPS(net='vgg')")
        inputs = 3
        for stage, (numbers, outputs) in enumerate(zip(_STAGES, _CHANNELS, strict=True)):
            for number in numbers:
                for kind, shape in (("weight", (outputs, inputs, 3, 3)), ("bias", (outputs,))):
                    names = f"features.{number}.{kind}", f"net.slice{stage + 1}.{number}.{kind}"
                    self.register_buffer(f"{kind}{number}", take(state, names, shape, weights), persistent=False)
                inputs = outputs
        self.learnt = "lin0.model.1.weight" in state
        for stage, channels in enumerate(_CHANNELS if self.learnt else ()):
            share = take(state, (f"lin{stage}.model.1.weight",), (1, channels, 1, 1), weights)
            self.register_buffer(f"share{stage}", share, persistent=False)

    def forward(self, one: Tensor, two: Tensor) -> Tensor:
        """[B, 3, H, W], display sRGB in [0, 1], 64 pixels a side or more: the sum over whole, half and quarter size."""
        total = one.new_zeros(())
        for scale in range(_SCALES):
            if scale:
                one, two = (interpolate(x, scale_factor=0.5, mode="bilinear", align_corners=False) for x in (one, two))
            total = total + self._distance(one, two)
        return total

    def _distance(self, one: Tensor, two: Tensor) -> Tensor:
        x = torch.cat([one, two])
        x = (x - x.new_tensor(_MEAN).view(3, 1, 1)) / x.new_tensor(_STD).view(3, 1, 1)
        total = x.new_zeros(())
        for stage, numbers in enumerate(_STAGES):
            x = max_pool2d(x, 2) if stage else x
            for number in numbers:
                x = torch.relu(conv2d(x, getattr(self, f"weight{number}"), getattr(self, f"bias{number}"), padding=1))
            unit = x / (x.square().sum(1, keepdim=True).sqrt() + _EPSILON)
            squared = (unit[: len(one)] - unit[len(one) :]).square()
            share = getattr(self, f"share{stage}") if self.learnt else None
            total = total + (_FIXED[stage] * squared.mean() if share is None else (share * squared).sum(1).mean())
        return total
