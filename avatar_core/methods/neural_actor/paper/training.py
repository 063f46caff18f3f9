"""What training the published renderer minimises, on texture maps that were made from the pictures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ....data.capture import Capture, CaptureError
from ...base import RayBatch
from .picture import Picture
from .rays import SAMPLES, near_far

ALPHA = 0.01  # the released options' weight of a term that the released code never adds
MASK = 0.5
DEFORMATION = 0.1  # per square metre
TEXTURE = 5.0
PAINTED = 0.5  # share of pictures that are rendered with the predicted map, as all are after training
JOINT = 0.6  # share of the training after which pictures teach the predictor too
_SHARP = 0.11  # of the alpha term
CPU = torch.device("cpu")


@dataclass
class Lessons:
    """The training frames and their maps, uint8, which are read when first needed."""

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


def losses(picture: Picture, batch: RayBatch) -> dict[str, Tensor]:
    """picture: in the pose of the batch, with the batch's texture.

    'colour' is the mean squared error of display sRGB in [0, 1]; the paper's is twelve times it (a sum over channels,
    of values in [-1, 1]). 'alpha' pushes rays to be full or empty, 'mask' keeps the silhouette, 'deformation' keeps
    offsets small; the released code has none of the three.
    """
    origins, directions = (
        torch.as_tensor(array, device=picture.device) for array in batch.camera.rays(batch.pixels.reshape(-1, 2))
    )
    hit, near, far = near_far(origins, directions, picture.vertices, picture.joints, picture.reach)
    count, subpixels = batch.pixels.shape[:2]
    rgb, missed, offset = torch.ones_like(origins), torch.ones_like(origins[:, 0]), origins.new_zeros(1, 3)
    hits = torch.nonzero(hit).squeeze(1)
    if hits.numel():
        noise = torch.rand(len(hits), SAMPLES, device=hits.device).clamp(0.001, 0.999)
        pixels, offset = picture.march(origins[hits], directions[hits], near[hits], far[hits], noise)
        rgb, missed = rgb.index_put((hits,), pixels.colour), missed.index_put((hits,), pixels.missed)
    rgb, missed = rgb.view(count, subpixels, 3).mean(1), missed.view(count, subpixels).mean(1)
    target = torch.as_tensor(batch.rgba, device=picture.device)
    over_white = target[:, :3] * target[:, 3:] + 1 - target[:, 3:]
    rgb = (rgb + 1) / 2
    terms = {
        "colour": (rgb - over_white).square().mean(),
        "mask": MASK * (1 - missed - target[:, 3]).square().mean(),
        "alpha": ALPHA * torch.log1p(missed.clamp(0, 1) * (1 - missed.clamp(0, 1)) / _SHARP).mean(),
        "deformation": DEFORMATION * offset.square().sum(1).mean(),
    }
    if batch.perceptual is not None:
        terms["perceptual"] = batch.perceptual(rgb, over_white)
    return terms
