"""Image to appearance: a vector for every limb from one picture, by a ResNet-50 with group normalisation."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

GREY = 0.5  # behind a person who is cut out
_STAGES = ((1, 3, 1), (2, 4, 2), (4, 6, 2), (8, 3, 2))  # channels over the base, blocks, stride
_EXPANSION = 4
_GROUPS = 32
_MEAN, _STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # ImageNet's


class AppearanceEncoder(nn.Module):
    """Modules are named as in the published checkpoints."""

    mean: Tensor
    std: Tensor

    def __init__(self, limbs: int, features: int, base: int = 64) -> None:
        """base: channels of the first layers; 64 as published, a multiple of 32 or one of 8 and 16."""
        super().__init__()
        self.limbs, self.features = limbs, features
        stages, inputs = [], base
        for width, blocks, stride in _STAGES:
            channels = width * base
            first = _Bottleneck(inputs, channels, stride)
            inputs = _EXPANSION * channels
            stages.append(nn.Sequential(first, *(_Bottleneck(inputs, channels, 1) for _ in range(blocks - 1))))
        self.layers = nn.Sequential(
            nn.Conv2d(3, base, 7, stride=2, padding=3, bias=False),
            _norm(base),
            nn.ReLU(),
            nn.MaxPool2d(3, stride=2, padding=1),
            *stages,
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
            nn.Linear(inputs, limbs * features),
        )
        self.register_buffer("mean", torch.tensor(_MEAN).view(3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(_STD).view(3, 1, 1), persistent=False)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.normal_(module.weight, 0, math.sqrt(2 / (module.kernel_size[0] ** 2 * module.out_channels)))
            elif isinstance(module, _Bottleneck):
                nn.init.zeros_(module.bn3.weight)

    def forward(self, images: Tensor) -> Tensor:
        """[B, 3, H, W] display sRGB in [0, 1] to [B, M, A]."""
        return self.layers((images - self.mean) / self.std).view(len(images), self.limbs, self.features)


class _Bottleneck(nn.Module):
    """The stride is in the 3x3 convolution; layers named bn normalise groups."""

    def __init__(self, inputs: int, channels: int, stride: int) -> None:
        super().__init__()
        outputs = _EXPANSION * channels
        self.conv1 = nn.Conv2d(inputs, channels, 1, bias=False)
        self.bn1 = _norm(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, stride=stride, padding=1, bias=False)
        self.bn2 = _norm(channels)
        self.conv3 = nn.Conv2d(channels, outputs, 1, bias=False)
        self.bn3 = _norm(outputs)
        self.downsample = None
        if stride != 1 or inputs != outputs:
            conv = nn.Conv2d(inputs, outputs, 1, stride=stride, bias=False)
            self.downsample = nn.Sequential(conv, _norm(outputs))

    def forward(self, x: Tensor) -> Tensor:
        y = torch.relu(self.bn1(self.conv1(x)))
        y = torch.relu(self.bn2(self.conv2(y)))
        return torch.relu(self.bn3(self.conv3(y)) + (x if self.downsample is None else self.downsample(x)))


def _norm(channels: int) -> nn.GroupNorm:
    return nn.GroupNorm(min(_GROUPS, channels), channels)


def input_picture(pixels: np.ndarray, reads: int) -> Tensor:
    """[3, reads, reads] in [0, 1]: the square in the middle of [H, W, 3 or 4] uint8, before grey where it has alpha."""
    height, width = pixels.shape[:2]
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    square = torch.tensor(pixels[top : top + side, left : left + side]).float() / 255
    if square.shape[2] == 4:
        square = GREY + (square[..., :3] - GREY) * square[..., 3:]
    size = reads, reads
    planes = square.permute(2, 0, 1)[None]
    return functional.interpolate(planes, size, mode="bilinear", align_corners=False, antialias=True)[0].clamp(0, 1)
