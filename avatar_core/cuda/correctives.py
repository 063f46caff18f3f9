"""Pose correctives as the skinning kernel reads them: 16-bit steps, and no blocks of zeros.

One layout serves dense ones (SMPL's) and sparse ones (the free template's, of which 98 % are zero): the mesh is cut
into blocks of 32 vertices, and each block keeps only the features that move any of its vertices. A step is 1/32767 of a
feature's largest offset, so an offset of a centimetre is within 0.2 micrometres.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

BLOCK = 32  # vertices; SKIN_BLOCK in skin.h
_LARGEST = 32767


@dataclass(frozen=True)
class Correctives:
    """Made by `pack`. values: [E, 3, 32] int16 steps. features: [E] int32. first: [blocks + 1] int32, the entries of
    each block. steps: [F] float32, metres. vertices: V."""

    values: Tensor
    features: Tensor
    first: Tensor
    steps: Tensor
    vertices: int

    @classmethod
    def pack(cls, posedirs: Tensor) -> Correctives:
        """posedirs: [V, 3, F] metres. Raises ValueError for other shapes, and numbers that are not finite."""
        if posedirs.dim() != 3 or posedirs.shape[1] != 3 or not posedirs.is_floating_point():
            raise ValueError(f"posedirs must be [V, 3, F] floats, got {tuple(posedirs.shape)} {posedirs.dtype}")
        if not bool(posedirs.isfinite().all()):
            raise ValueError("posedirs must be finite")
        count, _, features = posedirs.shape
        blocks = -(-count // BLOCK)
        largest = posedirs.abs().amax((0, 1)) if count else posedirs.new_zeros(features)
        steps = largest.float() / _LARGEST
        values = (posedirs / torch.where(steps > 0, steps, 1).to(posedirs)).round().to(torch.int16)
        values = torch.nn.functional.pad(values, (0, 0, 0, 0, 0, blocks * BLOCK - count))
        values = values.view(blocks, BLOCK, 3, features).permute(0, 3, 2, 1)  # [blocks, F, 3, 32]
        used = (values != 0).any(-1).any(-1)
        first = torch.nn.functional.pad(used.sum(1).cumsum(0), (1, 0)).int()
        return cls(values[used].contiguous(), used.nonzero()[:, 1].int(), first, steps, count)

    def unpack(self) -> Tensor:
        """posedirs [V, 3, F] float32 as the kernel takes them."""
        blocks = len(self.first) - 1
        values = self.steps.new_zeros(blocks, len(self.steps), 3, BLOCK)
        block = torch.repeat_interleave(torch.arange(blocks, device=self.first.device), self.first.diff().long())
        values[block, self.features.long()] = self.values.float()
        posedirs = values.permute(0, 3, 2, 1).flatten(0, 1)[: self.vertices]
        return posedirs * self.steps
