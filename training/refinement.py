"""Poses that are a little wrong, as tracking leaves them, are put right while an actor is trained.

Each training frame has a correction of its joints' axis-angle vectors and of its translation, learnt with the actor.
Held-out frames keep their poses: what is measured there includes their errors.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor, nn

from avatar_core.methods.base import RayBatch

RATE = 1e-3  # radians and metres a step, at first
_STILL = 0.1  # weight of the squared corrections, radians and metres: without it body and corrections could drift


class PoseRefinement(nn.Module):
    """frames: indices of the frames that have a correction; joints: of the body."""

    def __init__(self, frames: Sequence[int], joints: int) -> None:
        super().__init__()
        self._row = {frame: row for row, frame in enumerate(frames)}
        self.pose = nn.Parameter(torch.zeros(len(frames), joints, 3))
        self.transl = nn.Parameter(torch.zeros(len(frames), 3))

    def correct(self, batch: RayBatch) -> RayBatch:
        """The same pixels, with what is to be added to their pose."""
        row = self._row[batch.frame]
        return replace(batch, correction=(self.pose[row], self.transl[row]))

    def loss(self, batches: Sequence[RayBatch]) -> Tensor:
        """Keeps the corrections of the batches small. Those of other frames are left alone: Adam would blow their small
        gradients up to whole steps, and a long capture would lose what it has learnt between two visits of a frame."""
        rows = sorted({self._row[batch.frame] for batch in batches})
        return _STILL * (self.pose[rows].square().mean() + self.transl[rows].square().mean())
