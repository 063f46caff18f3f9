"""What training the published field minimises (NeRFBlendShape, section 3.4, and the released schedule)."""

from __future__ import annotations

import torch
from torch import Tensor

MASK_STEPS = 4000  # steps with the head's mask
PRUNE_STEPS = (1000, 2000)  # before which the density grid is updated for the first times


def terms(picture: Tensor, coverage: Tensor, target: Tensor, mask: Tensor | None) -> dict[str, Tensor]:
    """Mean absolute errors of pixels [N, 3] in [0, 1] and, with `mask` [N], of coverage [N]."""
    found = {"absolute": (picture - target).abs().mean()}
    return found if mask is None else found | {"mask": (coverage - mask).abs().mean()}


def sparsity(tables: Tensor) -> Tensor:
    """The mean absolute value of all tables [K, ...] but the first."""
    return tables[1:].abs().mean() if len(tables) > 1 else torch.zeros(()).to(tables)
