"""Features of the texture map: the first three stages of ResNet-34 (He et al. 2016), stacked at half resolution.

Parameter names are torchvision's, so that checkpoints load as they are. The fourth stage and the classifier, which the
released checkpoints carry, are never used.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

WIDTHS = {"published": 64, "compact": 32}
_STAGES = ((1, 1, 3), (1, 2, 4), (2, 4, 6))  # channels in and out, in widths; blocks


class _Block(nn.Module):
    """Two 3x3 convolutions around a shortcut."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        stride = 1 if inputs == outputs else 2
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.downsample = None
        if stride == 2:
            self.downsample = nn.Sequential(nn.Conv2d(inputs, outputs, 1, 2, bias=False), nn.BatchNorm2d(outputs))

    def forward(self, x: Tensor) -> Tensor:
        shortcut = x if self.downsample is None else self.downsample(x)
        return functional.relu(self.bn2(self.conv2(functional.relu(self.bn1(self.conv1(x))))) + shortcut)


class TextureEncoder(nn.Module):
    """[1, 3, H, W] in [0, 1], top row first, to [channels, H/2, W/2], bottom row (v = 0) first. width: channels of the
    first convolution, 64 in ResNet-34."""

    def __init__(self, width: int = WIDTHS["published"]) -> None:
        super().__init__()
        self.channels = width + width * sum(outputs for _, outputs, _ in _STAGES)
        self.conv1 = nn.Conv2d(3, width, 7, 2, 3, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        for number, (inputs, outputs, blocks) in enumerate(_STAGES, 1):
            inputs, outputs = width * inputs, width * outputs
            first = _Block(inputs, outputs)
            setattr(
                self, f"layer{number}", nn.Sequential(first, *(_Block(outputs, outputs) for _ in range(blocks - 1)))
            )

    def forward(self, image: Tensor) -> Tensor:
        x = functional.relu(self.bn1(self.conv1(image)))
        levels = [x]
        x = functional.max_pool2d(x, 3, 2, 1)
        for number in range(1, len(_STAGES) + 1):
            x = getattr(self, f"layer{number}")(x)
            levels.append(x)
        size = levels[0].shape[-2:]
        same = [functional.interpolate(level, size, mode="bilinear", align_corners=True) for level in levels]
        return torch.cat(same, 1)[0].flip(1)


def sample_map(features: Tensor, uv: Tensor) -> Tensor:
    """Bilinear values [N, C] of a map [C, H, W] with v = 0 first, at uv [N, 2] in [0, 1]; zero outside."""
    grid = (2 * uv - 1)[None, None]
    return functional.grid_sample(features[None], grid, mode="bilinear", align_corners=False)[0, :, 0].T
