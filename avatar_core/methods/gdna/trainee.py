"""What is trained: the networks, and the codes of every scan."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from ...body import Body
from ...config import ConfigError
from ...data.capture import Capture
from ...data.scans import ScanCapture
from ..base import RayBatch
from . import coarse
from .body import SmplBody
from .config import Config
from .field import Networks
from .lessons import Lessons
from .model import Model
from .networks import CODE

STAGES = ("coarse",)
_CLIP = 0.1  # largest norm of a gradient
_RATE = 1e-3
_ADAM = {"betas": (0.9, 0.999), "eps": 1e-8}


@dataclass(frozen=True)
class TrainingConfig:
    """Options under `config:` of a training file."""

    stage: str = "coarse"
    """'coarse': shape and skinning"""
    points: int = 2000
    """of a scan in a step, by its surface"""
    cell: float = 0.008
    """metres between grid points of the actor's surface"""

    def __post_init__(self) -> None:
        if self.stage not in STAGES:
            raise ConfigError(f"'stage' must be {' or '.join(STAGES)}, got {self.stage!r}")
        if not 8 <= self.points <= 1 << 20:
            raise ConfigError(f"'points' must be 8 to {1 << 20}, got {self.points}")


class Trainee(nn.Module):
    """Implements methods.base.Trainee."""

    shapes: nn.Parameter  # [n, 64]
    lessons: Lessons

    def __init__(self, config: TrainingConfig, body: Body) -> None:
        super().__init__()
        self.config, self.body = config, body
        self.networks = Networks(0)
        self.networks.network.start_as_ball()

    def prepare(self, capture: Capture, frames: Sequence[int]) -> None:
        self.lessons = Lessons(capture, frames, SmplBody(self.body))
        self.shapes = nn.Parameter(torch.zeros(len(self.lessons), CODE))

    def losses(self, batches: Sequence[RayBatch], progress: float) -> dict[str, Tensor]:
        bones = progress < coarse.BONES_UNTIL
        total: dict[str, Tensor] = {}
        for batch in batches:
            code = self.shapes[batch.frame]
            found = coarse.terms(self.networks, code, self.lessons, batch.frame, self.config.points, bones)
            for name, value in found.items():
                total[name] = total.get(name, torch.zeros(())) + value / len(batches)
        return total

    def before_step(self) -> None:
        """Gradients are clipped, as published."""
        nn.utils.clip_grad_norm_(self.parameters(), _CLIP)

    def after_step(self, step: int, steps: int) -> None:
        pass

    def parameter_groups(self) -> list[dict[str, Any]]:
        return [{"params": list(self.parameters()), "lr": _RATE, **_ADAM}]

    def finished(self, capture: Capture) -> tuple[Model, Capture]:
        config = Config(people=len(self.shapes), picture="shaded", cell=self.config.cell)
        model = Model(config, self.body)
        model.networks.load_state_dict(self.networks.state_dict())
        model.shape.fit(self.shapes.detach())
        assert isinstance(capture, ScanCapture)
        latents = [{"shape": one.numpy()} for one in model.shape.people]
        return model, capture.showing(config.picture, latents)
