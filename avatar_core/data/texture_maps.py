"""Texture maps of a capture's frames, as `avatar textures` or an import has made them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from .capture import Capture, CaptureError

CPU = torch.device("cpu")


@dataclass
class TextureMaps:
    """Maps of some frames (indices of the capture) at `size` texels a side, kept as uint8 once they are read."""

    capture: Capture
    frames: Sequence[int]
    size: int
    device: torch.device = CPU
    _maps: dict[Path, np.ndarray] = field(default_factory=dict)

    def texture(self, frame: int) -> Tensor:
        """[size, size, 3] in [0, 1]. Raises CaptureError where 'avatar textures' has not been."""
        path = self.capture.map_path("textures", frame)
        if not path.exists():
            raise CaptureError(f"{path} is missing; make it with: avatar textures {self.capture.folder}")
        return self._map(path)

    def confidence(self, frame: int) -> Tensor:
        """[size, size] in [0, 1]: how frontally the texels were seen; 1 for maps that came without."""
        path = self.capture.map_path("confidence", frame)
        return self._map(path)[..., 0] if path.exists() else torch.ones(self.size, self.size, device=self.device)

    def mean(self) -> Tensor:
        """[size, size, 3]: the mean map, weighted by confidence."""
        total, weight = (torch.zeros(self.size, self.size, width, device=self.device) for width in (3, 1))
        for frame in self.frames:
            share = self.confidence(frame)[..., None] + 1e-3  # never seen: the mean of what was filled in
            total, weight = total + share * self.texture(frame), weight + share
        return total / weight

    def _map(self, path: Path) -> Tensor:
        if path not in self._maps:
            self._maps[path] = self.capture.map(path, self.size)
        return torch.tensor(self._maps[path], device=self.device).float() / 255
