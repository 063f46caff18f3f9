"""A perceptual loss on features of a network whose weights the user has: VGG-16 up to relu3_3.

Johnson et al. 2016: pictures are alike when a network that recognises things sees them alike. Nothing is downloaded.
The file is torchvision's `vgg16` state dict or a part of it, as safetensors or as a torch file, which is read by the
restricted unpickler.
"""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from .network_files import read_tensors, take

_CONVOLUTIONS = {0: (3, 64), 2: (64, 64), 5: (64, 128), 7: (128, 128), 10: (128, 256), 12: (256, 256), 14: (256, 256)}
_COMPARED = (2, 7, 14)  # after whose ReLU features are compared: relu1_2, relu2_2, relu3_3
_POOLED = (5, 10)  # convolutions with a pooling before them
_MEAN, _STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # of ImageNet, display sRGB
SMALLEST = 16  # pixels a side of a picture


class PerceptualLoss(nn.Module):
    """weights: a file. Raises AvatarError with one sentence when it is missing, foreign or damaged."""

    def __init__(self, weights: Path) -> None:
        super().__init__()
        state = read_tensors(weights, "torchvision's vgg16 state dict")
        self.layers = nn.ModuleDict()
        for number, (inputs, outputs) in _CONVOLUTIONS.items():
            layer = nn.Conv2d(inputs, outputs, 3, padding=1)
            for name, parameter in layer.named_parameters():
                names = f"features.{number}.{name}", f"{number}.{name}"  # the second where the classifier was left out
                parameter.data = take(state, names, tuple(parameter.shape), weights)
            self.layers[str(number)] = layer
        self.requires_grad_(False)

    def forward(self, rendered: Tensor, captured: Tensor) -> Tensor:
        """Both [S * S, 3], display sRGB over white, row by row: mean squared distances of normalised features."""
        side = round(len(rendered) ** 0.5)
        x = torch.stack([rendered, captured.to(rendered)]).view(2, side, side, 3).permute(0, 3, 1, 2)
        x = (x - x.new_tensor(_MEAN).view(3, 1, 1)) / x.new_tensor(_STD).view(3, 1, 1)
        total = x.new_zeros(())
        for number in _CONVOLUTIONS:
            if number in _POOLED:
                x = nn.functional.max_pool2d(x, 2)
            x = torch.relu(self.layers[str(number)](x))
            if number in _COMPARED:
                one, other = normalize(x, dim=1)
                total = total + (one - other).square().sum(0).mean()
        return total
