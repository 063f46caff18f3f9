"""Looking a map up beside a chart's border without what lies outside of the chart."""

from __future__ import annotations

import torch
from scipy.ndimage import distance_transform_edt
from torch import Tensor

from ....cuda.raster import rasterise
from .texture import sample_map


class Gutter:
    """Texels outside of all charts repeat the nearest one inside, so that a bilinear lookup at a border mixes values of
    its own chart alone. face_uv: [F, 3, 2] in [0, 1], v up."""

    def __init__(self, face_uv: Tensor) -> None:
        self.face_uv = face_uv
        self._nearest: dict[tuple[int, int], Tensor] = {}

    def fill(self, features: Tensor) -> Tensor:
        """[C, H, W] with v = 0 in the first row."""
        size = features.shape[1], features.shape[2]
        if size not in self._nearest:
            with torch.inference_mode(False):  # it outlives this call, and may be needed for gradients then
                self._nearest[size] = self._source(*size).to(features.device)
        return features.flatten(1)[:, self._nearest[size]].view_as(features)

    def lookup(self, filled: Tensor, uv: Tensor) -> Tensor:
        """As `sample_map`, but for places less than half a texel from the map's border, which are moved inside."""
        half = 0.5 / torch.tensor([filled.shape[2], filled.shape[1]]).to(uv)
        return sample_map(filled, uv.maximum(half).minimum(1 - half))

    def _source(self, height: int, width: int) -> Tensor:
        """[H W] int64: the texel whose value each takes."""
        corners = self.face_uv.reshape(-1, 2).float().cpu() * torch.tensor([width, height])
        flat = torch.cat([corners, torch.ones(len(corners), 1)], 1)
        covered = rasterise(flat, torch.arange(len(corners)).view(-1, 3), height, width).face >= 0
        if not bool(covered.any()):
            return torch.arange(height * width)
        row, column = distance_transform_edt(~covered.numpy(), return_distances=False, return_indices=True)
        return torch.as_tensor(row * width + column).long().reshape(-1)
