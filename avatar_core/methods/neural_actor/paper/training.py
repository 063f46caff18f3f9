"""What training the published renderer minimises, on texture maps that were made from the pictures."""

from __future__ import annotations

import torch
from torch import Tensor

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
