"""2D to 3D: where joints lie in metres about the root, from where they are seen in a picture."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn


class PoseNetwork(nn.Module):
    """Modules are named as in the published checkpoints."""

    def __init__(self, joints: int, width: int, dropout: float = 0.1) -> None:
        """width: of the hidden layers, a multiple of 32."""
        super().__init__()
        self.layers = nn.Sequential(
            _Layer(3 * joints, width, dropout),
            _Residual(width, dropout),
            _Residual(width, dropout),
            nn.Linear(width, 3 * joints),
        )

    def forward(self, points: Tensor, seen: Tensor, size: Tensor) -> Tensor:
        """[B, J, 3] metres about the root, in the camera's axes.

        points: [B, J, 2] pixels of the whole picture. seen: [B, J] bool. size: [B, 2] its width and height. Joints
        that are not seen may lie anywhere.
        """
        width, height = size.to(points).unbind(-1)
        middle = torch.stack([width, height], -1)[:, None]
        scaled = (2 * points - middle) / width[:, None, None]
        flat = torch.cat([scaled, seen[..., None].to(points)], -1).flatten(1)
        return self.layers(flat).view(len(points), -1, 3)


class _Layer(nn.Module):
    def __init__(self, inputs: int, outputs: int, dropout: float) -> None:
        super().__init__()
        self.linear = nn.Linear(inputs, outputs, bias=False)
        self.norm = nn.GroupNorm(32, outputs)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        return self.dropout(torch.relu(self.norm(self.linear(x))))


class _Residual(nn.Module):
    def __init__(self, width: int, dropout: float) -> None:
        super().__init__()
        self.layers = nn.Sequential(_Layer(width, width, dropout), _Layer(width, width, dropout))

    def forward(self, x: Tensor) -> Tensor:
        return (x + self.layers(x)) / math.sqrt(2)
