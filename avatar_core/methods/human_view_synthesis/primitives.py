"""Pose to Gaussians: one or more on every limb, as long as the limb and of a width that the skeleton states."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from .skeleton import Skeleton

_FINEST = 3.0  # pixels
_WIDER, _LONGER = 4.0, 1.7


@dataclass(frozen=True)
class Gaussians:
    """centres, axes: [P, 3] metres; the length of an axis is the standard deviation along it. widths: [P] metres, that
    across. Gaussians of limbs that a joint is missing for are NaN, and not drawn."""

    centres: Tensor
    axes: Tensor
    widths: Tensor

    def seen_by(self, plane: Tensor) -> Gaussians:
        """The same, as full as the limbs, for rays [H, W, 2].

        A Gaussian shows in a quarter of its width and in three fifths of its length: dots in the middle of limbs,
        which a decoder has to learn to grow into a body with hands and feet. So they are made that much larger, and
        none is thinner than what the rays are sure to meet.
        """
        pixel = (plane[0, 1] - plane[0, 0]).norm() * self.centres[:, 2].nan_to_num().clamp(min=0)
        widths = torch.maximum(_WIDER * self.widths, _FINEST * pixel.to(self.widths))
        return Gaussians(self.centres, _LONGER * self.axes, widths)


class Primitives(nn.Module):
    """Gaussians of limbs; limb i has those from i * per_limb on. More than one share a limb's length, and learn widths.

    As published, with one, nothing is learnt.
    """

    starts: Tensor
    ends: Tensor
    shares: Tensor
    widths: Tensor

    def __init__(self, skeleton: Skeleton, per_limb: int = 1) -> None:
        super().__init__()
        limbs = torch.tensor(skeleton.limbs)
        self.per_limb = per_limb
        self.register_buffer("starts", limbs[:, 0].repeat_interleave(per_limb), persistent=False)
        self.register_buffer("ends", limbs[:, 1].repeat_interleave(per_limb), persistent=False)
        share = (torch.arange(per_limb) + 0.5) / per_limb
        self.register_buffer("shares", share.repeat(len(limbs))[:, None], persistent=False)
        self.register_buffer("widths", torch.tensor(skeleton.widths).repeat_interleave(per_limb))
        self.wider = nn.Parameter(torch.zeros(len(self.widths))) if per_limb > 1 else None

    def __len__(self) -> int:
        return len(self.widths)

    def forward(self, joints: Tensor) -> Gaussians:
        """joints: [J, 3] metres, NaN where one is missing."""
        start, end = joints[self.starts], joints[self.ends]
        widths = self.widths if self.wider is None else self.widths * self.wider.exp()
        shares = self.shares.to(joints)
        return Gaussians(start + shares * (end - start), (end - start) / self.per_limb, widths.to(joints))

    def limb_of(self, which: Tensor) -> Tensor:
        """The limb of a Gaussian; -1 stays."""
        return torch.where(which < 0, which, which // self.per_limb)
