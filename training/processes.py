"""Several processes that train one model: `torchrun --nproc-per-node N -m avatar_core.cli train CONFIG`."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, distributed


@dataclass(frozen=True)
class Processes:
    """rank: of this one, which of `count`."""

    rank: int
    count: int

    @classmethod
    def join(cls) -> Processes:
        """Those that torchrun has started, or this one alone. The device 'cuda' becomes another GPU for each."""
        count = int(os.environ.get("WORLD_SIZE", "1"))
        if count > 1 and torch.cuda.is_available():
            torch.cuda.set_device(int(os.environ["LOCAL_RANK"]) % torch.cuda.device_count())
        if count > 1 and not distributed.is_initialized():
            distributed.init_process_group("gloo")
        return cls(int(os.environ.get("RANK", "0")) if count > 1 else 0, count)

    def average(self, tensors: Sequence[Tensor]) -> None:
        """Each becomes its mean over all processes, in one message."""
        if self.count == 1:
            return
        flat = torch.cat([tensor.flatten() for tensor in tensors])
        distributed.all_reduce(flat)
        flat /= self.count
        for tensor, part in zip(tensors, flat.split([tensor.numel() for tensor in tensors]), strict=True):
            tensor.copy_(part.view_as(tensor))

    def first(self, value: float) -> float:
        """The first process's value, for all."""
        if self.count == 1:
            return value
        shared = torch.tensor([value], dtype=torch.float64)
        distributed.broadcast(shared, 0)
        return float(shared)
