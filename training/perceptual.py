"""A perceptual loss on features of a network whose weights the user has: VGG-16 up to relu3_3.

Johnson et al. 2016: pictures are alike when a network that recognises things sees them alike. Nothing is downloaded;
avatar_core/nn/vgg.py says which files are read.
"""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn

from avatar_core.nn.vgg import Vgg16

_STAGES = 3  # whose features are compared: relu1_2, relu2_2, relu3_3
SMALLEST = 16  # pixels a side of a picture


class PerceptualLoss(nn.Module):
    """weights: a file. Raises AvatarError with one sentence when it is missing, foreign or damaged."""

    def __init__(self, weights: Path) -> None:
        super().__init__()
        self.network = Vgg16(weights, _STAGES)

    def forward(self, rendered: Tensor, captured: Tensor) -> Tensor:
        """Both [S * S, 3], display sRGB over white, row by row: mean squared distances of normalised features."""
        side = round(len(rendered) ** 0.5)
        pictures = torch.stack([rendered, captured.to(rendered)]).view(2, side, side, 3).permute(0, 3, 1, 2)
        distances = [(unit[0] - unit[1]).square().sum(0).mean() for unit in self.network(pictures)]
        return torch.stack(distances).sum()
