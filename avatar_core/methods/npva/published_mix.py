"""The mix of a sample's points in the released code's arithmetic.

Offsets in the camera's axes are differences of places in perspective, times their depths: about a metre away, single
precision rounds those to 1e-4 mm. The last octave counts that sixteenfold, and where a hidden unit of the networks is
about to change its sign, gradients follow. In exact arithmetic `cuda.point_mix` is the same.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ...cuda.point_mix import fourier, inverse_distance


def published_mix(
    places: Tensor,
    indices: Tensor,
    points: Tensor,
    features: Tensor,
    camera: tuple[Tensor, Tensor],
    octaves: tuple[int, int],
) -> Tensor:
    """As `cuda.point_mix`, [N, F (1 + 2 a) + 12 b]. places: [N, 3]. indices: [N, K] int64, -1 for none. points: [P, 3],
    all mm. features: [P, F]. camera: its centre [3] and rotation to its axes [3, 3]. octaves: a and b."""
    chosen = indices.clamp(min=0)
    offsets = points[chosen] - places[:, None]
    seen, from_ = _perspective(points, camera)[chosen], _perspective(places, camera)[:, None]
    sideways = seen[..., :2] * seen[..., 2:] - from_[..., :2] * from_[..., 2:]
    local = torch.cat([offsets, sideways, seen[..., 2:] - from_[..., 2:]], -1)
    weight = inverse_distance(offsets, indices)
    feature, offset = (weight * features[chosen]).sum(1), (weight * local).sum(1)
    return torch.cat([feature, fourier(feature, octaves[0]), fourier(offset, octaves[1])], 1)


def _perspective(places: Tensor, camera: tuple[Tensor, Tensor]) -> Tensor:
    """x / z, y / z, z [..., 3]."""
    centre, rotation = camera
    local = (places - centre) @ rotation.T
    return torch.cat([local[..., :2] / local[..., 2:], local[..., 2:]], -1)
