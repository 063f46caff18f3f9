"""The published renderer behind the interface that every method has."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ....body import Body
from ....data.capture import Capture
from ....nn.vgg import VggDistance
from ....quality import Quality
from ...base import RayBatch
from ..base import HeadModel, Shaded, tracked
from ..field import clamped
from ..space import to_head
from . import occupancy
from .config import Config
from .renderer import render
from .training import PRUNE_EVERY, PRUNE_FIRST, Lessons

_LARGEST = 6e4  # density that is kept; the file has half precision


class Model(HeadModel):
    """NeRFBlendShape as published. Implements methods.base.TrainableModel."""

    config: Config
    grid: Tensor
    step: Tensor

    def __init__(self, config: Config, body: Body) -> None:
        super().__init__(config, body)
        side = config.resolution
        self.register_buffer("grid", torch.full((side, side, side), occupancy.START))
        self.register_buffer("step", torch.zeros((), dtype=torch.int64))
        self._occupied: Tensor | None = None
        self._lessons: Lessons | None = None
        self._factors: list[tuple[Tensor, Tensor]] = []

    def extent(self) -> tuple[np.ndarray, np.ndarray]:
        config = self.config
        index = torch.nonzero(self.occupied())
        edges = (index.amin(0) - 1, index.amax(0) + 1) if len(index) else (index.new_zeros(3), index.new_zeros(3))
        units = torch.stack(edges) / (config.resolution - 1) * 2 - 1
        low, high = to_head(units.clamp(-1, 1) * config.bound, config.scale).cpu().double().numpy()
        return low, high

    def shade(
        self, origins: Tensor, directions: Tensor, table: Tensor, quality: Quality, check: Callable[[], None]
    ) -> Shaded:
        """Steps and the moment to stop are the published ones, whatever the quality."""
        pixels = render(self.field, table, self.occupied(), origins, directions, check)
        return Shaded(pixels.colour, pixels.coverage, pixels.distance)

    def occupied(self) -> Tensor:
        """[H, H, H] bool."""
        if self._occupied is None:
            self._occupied = occupancy.occupied(self.grid)
        return self._occupied

    def set_grid(self, grid: Tensor) -> None:
        """grid: [H, H, H] densities, which half precision must hold."""
        self.grid.copy_(grid.clamp(max=_LARGEST))
        self._occupied = None

    def prepare(self, capture: Capture, frames: Sequence[int]) -> None:
        """Ranges of the coefficients, and the picture behind the head. Raises CaptureError and ConfigError."""
        self._lessons = Lessons(tracked(capture, self.config), self.grid.device)
        self.set_ranges(*self._lessons.capture.ranges)
        if self.config.perceptual:
            self._lessons.perceptual = VggDistance(Path(self.config.perceptual), scales=1).to(self.grid.device)

    def losses(self, batches: Sequence[RayBatch], progress: float) -> dict[str, Tensor]:
        assert self._lessons is not None, "prepare() comes first"
        return self._lessons.losses(self, batches, self._factors, self.occupied(), int(self.step))

    def after_step(self, step: int, steps: int) -> None:
        self.step.fill_(step)
        self.forget()
        if step in PRUNE_FIRST or step % PRUNE_EVERY == 0:
            self.update_grid()

    @torch.no_grad()
    def update_grid(self) -> None:
        """Tries every expression alone; those that never differ from the neutral one once."""
        config = self.config
        tried = clamped(occupancy.probes(config.tables, self.highest), self.lowest, self.highest).unique(dim=0)

        def query(expression: int) -> Tensor:
            noise = torch.rand(config.resolution**3, 3, device=tried.device) * 2 - 1
            points = occupancy.vertices(config.resolution, config.bound, noise)
            table = self.field.mix(tried[expression])
            return torch.cat([self.field.density(part, table)[0] for part in points.split(8192)])

        self.set_grid(occupancy.update(self.grid, len(tried), query))

    def parameter_groups(self) -> list[dict[str, Any]]:
        nets = [*self.field.density_net.parameters(), *self.field.colour_net.parameters()]
        return [
            {"params": [self.field.tables], "lr": 1e-3, "factors": self._factors},
            {"params": nets, "lr": 1e-3, "weight_decay": 1e-6},
        ]
