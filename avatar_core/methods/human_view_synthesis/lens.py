"""Rays of a camera's pixels on the plane at depth 1, through lenses of up to twelve coefficients."""

from __future__ import annotations

import torch
from torch import Tensor

from ...errors import AvatarError

LENGTHS = (0, 4, 5, 8, 12)  # of k1, k2, p1, p2, k3, k4, k5, k6, s1, s2, s3, s4, as OpenCV orders them
_STEPS = 5  # of the fixed-point iteration, as published


def plane(K: Tensor, distortion: Tensor, columns: Tensor, rows: Tensor) -> Tensor:
    """Rays (x, y, 1): [H, W, 2], in the type of K.

    K: [3, 3] pixels; its skew counts for nothing. distortion: [n]. columns: [W], rows: [H] places of the pixels in
    the convention of K. Raises AvatarError for another number of coefficients.
    """
    x = (columns.to(K) - K[0, 2]) / K[0, 0]
    y = (rows.to(K) - K[1, 2]) / K[1, 1]
    return undistort(torch.stack(torch.meshgrid(x, y, indexing="xy"), -1), distortion)


def undistort(points: Tensor, distortion: Tensor) -> Tensor:
    """Where points [..., 2] of a lens lie without it. Raises AvatarError."""
    if distortion.numel() not in LENGTHS or not bool(torch.isfinite(distortion).all()):
        known = ", ".join(map(str, LENGTHS))
        raise AvatarError(
            f"a lens has {known} finite distortion coefficients (k1 k2 p1 p2 k3 k4 k5 k6 s1 s2 s3 s4), "
            f"got {distortion.numel()}"
        )
    if not bool(distortion.any()):
        return points
    padded = torch.nn.functional.pad(distortion.flatten().to(points), (0, 12 - distortion.numel()))
    k1, k2, p1, p2, k3, k4, k5, k6, s1, s2, s3, s4 = padded.unbind()
    seen_x, seen_y = points.unbind(-1)
    x, y = seen_x, seen_y
    for _ in range(_STEPS):
        r2 = x * x + y * y
        radial = (1 + r2 * (k4 + r2 * (k5 + r2 * k6))) / (1 + r2 * (k1 + r2 * (k2 + r2 * k3)))
        aside = 2 * p1 * x * y + p2 * (r2 + 2 * x * x) + r2 * (s1 + r2 * s2)
        along = p1 * (r2 + 2 * y * y) + 2 * p2 * x * y + r2 * (s3 + r2 * s4)
        x, y = (seen_x - aside) * radial, (seen_y - along) * radial
    return torch.stack([x, y], -1)
