"""Adaptive augmentation of what a discriminator sees (Karras et al. 2020): more of it the surer the discriminator is.

Published is one sampling of the turned and shifted picture; turns by quarters and shifts by whole pixels need none.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

_STEP, _TARGET, _MOMENTUM = 2.5e-3, 0.5, 0.8
_GREY = 1 / math.sqrt(3)


class AdaptiveAugmentation(nn.Module):
    """probability: of each change, 0 at the start. sign: running mean of the sign of logits of real patches."""

    probability: Tensor
    sign: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("probability", torch.zeros(()))
        self.register_buffer("sign", torch.zeros(()))

    @torch.no_grad()
    def learn(self, logits: Tensor) -> None:
        """logits: of real pictures, augmented."""
        self.sign.lerp_(logits.sign().mean(), 1 - _MOMENTUM)
        self.probability.add_(_STEP * (self.sign - _TARGET).sign()).clamp_(0, 1)

    def forward(self, *pictures: Tensor) -> list[Tensor]:
        """Each of [B, 3, H, W] (square) in [0, 1], changed in one way for all: what is made like what is real."""
        count = len(pictures[0])
        matrices = random_colours(count, float(self.probability))
        places = [_Place.drawn(float(self.probability), pictures[0].shape[2]) for _ in range(count)]
        return [self._changed(one, matrices, places) for one in pictures]

    @staticmethod
    def _changed(pictures: Tensor, matrices: Tensor, places: list[_Place]) -> Tensor:
        moved = [place.moved(picture) for picture, place in zip(pictures, places, strict=True)]
        return coloured(torch.stack(moved), matrices)


class _Place:
    def __init__(self, mirrored: bool, quarters: int, shift: tuple[int, int]) -> None:
        self.mirrored, self.quarters, self.shift = mirrored, quarters, shift

    @classmethod
    def drawn(cls, probability: float, side: int) -> _Place:
        flip, turn, move = (torch.rand(3) < probability).tolist()
        quarters, x, y = (int(torch.randint(n, ())) for n in (4, side, side))
        mirrored = flip and bool(torch.rand(()) < 0.5)
        return cls(mirrored, quarters if turn else 0, (y, x) if move else (0, 0))

    def moved(self, picture: Tensor) -> Tensor:
        """[C, S, S]; what leaves on one side comes back on the other."""
        picture = picture.flip(2) if self.mirrored else picture
        return picture.rot90(self.quarters, (1, 2)).roll(self.shift, (1, 2))


def random_colours(count: int, probability: float) -> Tensor:
    """[count, 3, 4] for `coloured`."""
    return torch.stack([_colours(probability) for _ in range(count)])


def coloured(pictures: Tensor, matrices: Tensor) -> Tensor:
    """[B, 3, H, W] in [0, 1], not clamped; matrices [B, 3, 4] act on colours from -1 to 1."""
    matrices = matrices.to(pictures)
    signed = torch.einsum("bij,bjhw->bihw", matrices[:, :, :3], 2 * pictures - 1) + matrices[:, :, 3, None, None]
    return (signed + 1) / 2


def _colours(probability: float) -> Tensor:
    """[3, 4]: brightness * contrast * luma flip * hue * saturation, each there with the probability."""
    there = (torch.rand(5) < probability).tolist()
    grey = torch.full((3, 1), _GREY)
    along = grey @ grey.T
    matrix, shift = torch.eye(3), torch.zeros(3, 1)
    if there[0]:
        matrix = along + (torch.eye(3) - along) * torch.exp2(torch.randn(()))
    if there[1]:
        matrix = hue_turn(float(torch.rand(()) * 2 - 1) * math.pi) @ matrix
    if there[2] and bool(torch.rand(()) < 0.5):
        matrix = (torch.eye(3) - 2 * along) @ matrix
    if there[3]:
        matrix = matrix * torch.exp2(0.5 * torch.randn(()))
    if there[4]:
        shift = shift + 0.2 * torch.randn(())
    return torch.cat([matrix, shift], 1)


def hue_turn(angle: float) -> Tensor:
    """[3, 3] rotation about grey (Rodrigues)."""
    cross = torch.tensor([[0.0, -1, 1], [1, 0, -1], [-1, 1, 0]]) * _GREY
    return torch.eye(3) + math.sin(angle) * cross + (1 - math.cos(angle)) * cross @ cross
