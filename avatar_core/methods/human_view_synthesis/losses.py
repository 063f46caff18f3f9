"""Terms that training minimises, weighted as published; pictures are [B, C, H, W], display sRGB in [0, 1]."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits, softplus

from .skeleton import Skeleton

ABSOLUTE, PERCEPTUAL, APPEARANCE = 10.0, 10.0, 1e-3
READING = 1.0  # of an appearance that is learnt for each person: mean square of what the encoder reads instead
COVERED = 3.0  # of `covered_error`: about four times what a person's pixels count among all of a picture's
FOOLING, MATCHING = 1.0, 10.0  # of the generator against the discriminator
_PARTS = {"body": 1.0, "left_hand": 10.0, "right_hand": 10.0, "face": 5.0}
_BASES = {"left_hand": "LWrist", "right_hand": "RWrist", "face": "Nose"}  # joints that parts are taken about
_GAMMA = 2.5e-4 / 32  # of R1, for each pixel of a picture


def over(pictures: Tensor, background: Tensor) -> Tensor:
    """Colours over a background [B, 3]. pictures: [B, 3, H, W], or [B, 4, H, W] with straight alpha."""
    if pictures.shape[1] == 3:
        return pictures
    alpha = pictures[:, 3:].clamp(0, 1)
    return pictures[:, :3] * alpha + background[..., None, None] * (1 - alpha)


def covered_error(made: Tensor, truth: Tensor) -> Tensor:
    """Mean absolute difference [] of colours where people are; [B, 4, H, W], straight alpha. Over backgrounds, errors
    of alpha would drown those of clothes."""
    covered = truth[:, 3:]
    return ((made[:, :3] - truth[:, :3]).abs().mean(1, keepdim=True) * covered).sum() / covered.sum().clamp(min=1)


def pose_error(found: Tensor, joints: Tensor, known: Tensor, skeleton: Skeleton) -> Tensor:
    """Mean distance [] in metres of joints [B, J, 3] about the root, over known ones [B, J]; hands and face, where the
    skeleton has some, are taken about wrists and nose and count more."""
    total = found.new_zeros(())
    for part, (start, end) in skeleton.parts.items():
        places, sure = slice(start, end), known[:, start:end]
        one, two = found[:, places], joints[:, places]
        if part in _BASES:
            base = skeleton.index(_BASES[part])
            one, two = one - found[:, base : base + 1], two - joints[:, base : base + 1]
            sure = sure & known[:, base : base + 1]
        distance = (one - two).norm(dim=-1)
        total = total + _PARTS[part] * torch.where(sure, distance, 0.0).sum() / sure.sum().clamp(min=1)
    return total


def fooling(logits: Tensor) -> Tensor:
    """Of the generator: patches that the discriminator does not take for real."""
    return softplus(-logits).mean()


def matching(made: list[Tensor], real: list[Tensor]) -> Tensor:
    """Of the generator: mean absolute differences of the discriminator's features, summed over its layers."""
    return torch.stack([(one - two.detach()).abs().mean() for one, two in zip(made, real, strict=True)]).sum()


def telling_apart(real: Tensor, made: Tensor) -> Tensor:
    """Of the discriminator, for logits of patches."""
    one = binary_cross_entropy_with_logits(real, torch.ones_like(real))
    return (one + binary_cross_entropy_with_logits(made, torch.zeros_like(made))) / 2


def gradient_penalty(logits: Tensor, pictures: Tensor) -> Tensor:
    """R1 (Mescheder et al. 2018): the squared gradient of each picture's mean logit, weighted by the picture's size.

    Published: that of the loss's mean over the batch, which shrinks as a batch grows; this one does not.
    """
    (gradient,) = torch.autograd.grad(logits.mean((1, 2, 3)).sum(), pictures, create_graph=True)
    weight = _GAMMA * pictures.shape[2] * pictures.shape[3]
    return weight * gradient.square().sum((1, 2, 3)).mean() / 2
