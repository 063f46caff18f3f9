"""Image quality, fixed once: display sRGB pictures in [0, 1] over white."""

from __future__ import annotations

import numpy as np
import torch
from torch.nn.functional import conv2d

SSIM_WINDOW = 11  # pixels a side


def psnr(one: np.ndarray, two: np.ndarray) -> float:
    """Peak signal-to-noise ratio in dB of arrays of one shape; 100 for equal ones."""
    error = float(np.square(one.astype(np.float64) - two).mean()) if one.size else 0.0
    return 100.0 if error < 1e-10 else -10 * float(np.log10(error))


def ssim(one: np.ndarray, two: np.ndarray) -> float:
    """Structural similarity (Wang et al. 2004) of [H, W, 3] pictures: Gaussian window of SSIM_WINDOW pixels, sigma 1.5,
    mean over channels and the pixels whose window lies inside of the picture."""
    if min(one.shape[:2]) < SSIM_WINDOW:
        raise ValueError(f"SSIM needs pictures of at least {SSIM_WINDOW} pixels a side, got {one.shape[:2]}")
    line = np.exp(-0.5 * ((np.arange(SSIM_WINDOW) - SSIM_WINDOW // 2) / 1.5) ** 2)
    window = torch.as_tensor(np.outer(line, line) / line.sum() ** 2)[None, None]
    x, y = (torch.as_tensor(p.astype(np.float64)).permute(2, 0, 1)[:, None] for p in (one, two))
    mx, my = conv2d(x, window), conv2d(y, window)
    vx, vy = conv2d(x * x, window) - mx * mx, conv2d(y * y, window) - my * my
    cov = conv2d(x * y, window) - mx * my
    c1, c2 = 0.01**2, 0.03**2
    score = (2 * mx * my + c1) * (2 * cov + c2) / ((mx * mx + my * my + c1) * (vx + vy + c2))
    return float(score.mean())


def mask_box(alpha: np.ndarray, least: int = 1) -> tuple[slice, slice] | None:
    """Rows and columns of the smallest box around alpha > 0.5 ([H, W]), grown to `least` pixels a side where the
    picture has them; None for an empty mask."""
    rows, columns = np.nonzero(alpha > 0.5)
    if rows.size == 0:
        return None
    return _span(rows, least, alpha.shape[0]), _span(columns, least, alpha.shape[1])


def _span(places: np.ndarray, least: int, size: int) -> slice:
    first, last = int(places.min()), int(places.max()) + 1
    first = max(0, min(first, (first + last - least) // 2))
    last = min(size, max(last, first + least))
    return slice(max(0, min(first, last - least)), last)
