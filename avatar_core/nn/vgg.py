"""VGG-16 (Simonyan and Zisserman 2015) with weights that the user has, and how different two pictures look to it.

Nothing is downloaded. The file is torchvision's `vgg16` state dict, or that of `lpips.LPIPS(net="vgg")`, saved once
where those packages are: as safetensors, or as a torch file, which is read by the restricted unpickler.
"""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn.functional import conv2d, interpolate, max_pool2d

from .network_files import read_tensors, take

_STAGES = ((0, 2), (5, 7), (10, 12, 14), (17, 19, 21), (24, 26, 28))  # convolutions by number; pooled in between
_CHANNELS = (64, 128, 256, 512, 512)
_FIXED = (1 / 32, 1 / 16, 1 / 8, 1 / 4, 1.0)  # of the stages, without LPIPS' weights
_MEAN, _STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # of ImageNet, display sRGB
_EPSILON = 1e-10
_WANTED = "torchvision's vgg16 state dict, or that of lpips.LPIPS(net='vgg')"


class Vgg16(nn.Module):
    """The first `stages` of five. Raises AvatarError with one sentence when the file is missing, foreign or damaged."""

    def __init__(self, weights: Path, stages: int = len(_STAGES)) -> None:
        super().__init__()
        self.stages = stages
        state = read_tensors(weights, _WANTED)
        inputs = 3
        for stage, (numbers, outputs) in enumerate(zip(_STAGES[:stages], _CHANNELS)):
            for number in numbers:
                for kind, shape in (("weight", (outputs, inputs, 3, 3)), ("bias", (outputs,))):
                    # of torchvision, without its classifier, of lpips
                    names = f"features.{number}.{kind}", f"{number}.{kind}", f"net.slice{stage + 1}.{number}.{kind}"
                    self.register_buffer(f"{kind}{number}", take(state, names, shape, weights), persistent=False)
                inputs = outputs
        self.learnt = f"lin{stages - 1}.model.1.weight" in state
        for stage, channels in enumerate(_CHANNELS[:stages] if self.learnt else ()):
            share = take(state, (f"lin{stage}.model.1.weight",), (1, channels, 1, 1), weights)
            self.register_buffer(f"share{stage}", share, persistent=False)

    def forward(self, x: Tensor) -> list[Tensor]:
        """[B, 3, H, W], display sRGB in [0, 1], to what each stage gives (its last ReLU), of length 1 in each pixel."""
        x = (x - x.new_tensor(_MEAN).view(3, 1, 1)) / x.new_tensor(_STD).view(3, 1, 1)
        found = []
        for stage, numbers in enumerate(_STAGES[: self.stages]):
            x = max_pool2d(x, 2) if stage else x
            for number in numbers:
                x = torch.relu(conv2d(x, getattr(self, f"weight{number}"), getattr(self, f"bias{number}"), padding=1))
            found.append(x / (x.square().sum(1, keepdim=True).sqrt() + _EPSILON))
        return found


class VggDistance(nn.Module):
    """LPIPS (Zhang et al. 2018) where the file has its weights, fixed ones elsewhere; summed over `scales` sizes, each
    half of the one before. Raises AvatarError as Vgg16 does."""

    def __init__(self, weights: Path, scales: int = 3) -> None:
        super().__init__()
        self.network, self.scales = Vgg16(weights), scales

    def forward(self, one: Tensor, two: Tensor) -> Tensor:
        """[B, 3, H, W], display sRGB in [0, 1], of 16 * 2^(scales - 1) pixels a side or more: a scalar."""
        total = one.new_zeros(())
        for scale in range(self.scales):
            if scale:
                one, two = (interpolate(x, scale_factor=0.5, mode="bilinear", align_corners=False) for x in (one, two))
            total = total + self._distance(one, two)
        return total

    def _distance(self, one: Tensor, two: Tensor) -> Tensor:
        total = one.new_zeros(())
        for stage, unit in enumerate(self.network(torch.cat([one, two]))):
            squared = (unit[: len(one)] - unit[len(one) :]).square()
            if self.network.learnt:
                total = total + (getattr(self.network, f"share{stage}") * squared).sum(1).mean()
            else:
                total = total + _FIXED[stage] * squared.mean()
        return total
