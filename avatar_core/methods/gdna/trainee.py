"""What is trained: the networks, and the codes of every scan."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ... import actor_file
from ...body import Body
from ...config import ConfigError
from ...data.capture import Capture
from ..base import RayBatch
from . import checkpoint, coarse, fine
from .body import SmplBody
from .config import Config
from .correspondences import ScanOnPerson
from .discriminator import Discriminator
from .field import Networks
from .lessons import Lessons
from .model import Model
from .networks import CODE

STAGES = ("coarse", "fine")
_CLIP = 0.1  # largest norm of a gradient
_RATES = {"coarse": 1e-3, "fine": 2e-3}
_ADAM: dict[str, Any] = {"betas": (0.9, 0.999), "eps": 1e-8}
_CRITIC: dict[str, Any] = {"lr": 2e-3, "betas": (0.0, 0.99), "eps": 1e-8}


@dataclass(frozen=True)
class TrainingConfig:
    """Options under `config:` of a training file."""

    stage: str = "coarse"
    """'coarse': shape and skinning; 'fine': normals"""
    start: str = ""
    """what a later stage goes on from: the .actor of the stage before, of the same scans, or a published checkpoint"""
    points: int = 2000
    """of a scan in a step, by its surface"""
    frequencies: int = 4
    """of the normal network's encoding; published: 6 for THuman2.0"""
    adversarial: bool = True
    """whether a discriminator of pictures judges normals too"""
    cell: float = 0.008
    """metres between grid points of the actor's surface"""

    def __post_init__(self) -> None:
        if self.stage not in STAGES:
            raise ConfigError(f"'stage' must be {' or '.join(STAGES)}, got {self.stage!r}")
        if not (8 <= self.points <= 1 << 20 and 1 <= self.frequencies <= 16):
            raise ConfigError(f"'points' must be 8 to {1 << 20} and 'frequencies' 1 to 16")
        if (self.stage == "coarse") == bool(self.start):
            raise ConfigError("name the .actor of the stage before as 'start'; the stage 'coarse' takes none")


class Trainee(nn.Module):
    """Implements methods.base.Trainee."""

    shapes: nn.Parameter  # [n, 64]
    details: nn.Parameter  # [n, 64]
    critic: Discriminator | None
    step: Tensor
    lessons: Lessons

    def __init__(self, config: TrainingConfig, body: Body) -> None:
        super().__init__()
        self.config, self.body = config, body
        self.networks = Networks(config.frequencies if config.stage == "fine" else 0)
        self.networks.network.start_as_ball()
        self.register_buffer("step", torch.zeros((), dtype=torch.long))
        self._scans: dict[int, ScanOnPerson] = {}

    def prepare(self, capture: Capture, frames: Sequence[int]) -> None:
        self.lessons = Lessons(capture, frames, SmplBody(self.body))
        people = len(self.lessons)
        self.shapes, self.details = (nn.Parameter(torch.zeros(people, CODE)) for _ in range(2))
        self.critic = None
        if self.config.stage == "coarse":
            return
        self.shapes.data.copy_(take_stage(Path(self.config.start), self.networks, people))
        if self.config.adversarial:
            self.critic = Discriminator(capture.cameras[0].camera.width, 3)
        for parameter in (self.shapes, *self.networks.parameters()):
            parameter.requires_grad_(False)
        assert self.networks.norm_network is not None
        self.networks.norm_network.requires_grad_(True)

    def losses(self, batches: Sequence[RayBatch], progress: float) -> dict[str, Tensor]:
        total: dict[str, Tensor] = {}
        pictures: list[fine.Pictures] = []
        for batch in batches:
            if self.config.stage == "coarse":
                bones = int(self.step) < coarse.BONE_STEPS
                found = coarse.terms(
                    self.networks, self.shapes[batch.frame], self.lessons, batch.frame, self.config.points, bones
                )
            else:
                found = self._fine(batch, pictures)
            for name, value in found.items():
                total[name] = total.get(name, torch.zeros(())) + value / len(batches)
        if self.critic is not None:
            total |= fine.adversarial(self.critic, pictures, int(self.step))
        return total

    def before_step(self) -> None:
        """Gradients are clipped, as published: those of each side by themselves."""
        for group in self.parameter_groups():
            nn.utils.clip_grad_norm_(group["params"], _CLIP)

    def after_step(self, step: int, steps: int) -> None:
        self.step.fill_(step)

    def parameter_groups(self) -> list[dict[str, Any]]:
        critic = [] if self.critic is None else list(self.critic.parameters())
        judged = {id(parameter) for parameter in critic}
        learnt = [one for one in self.parameters() if one.requires_grad and id(one) not in judged]
        groups = [{"params": learnt, "lr": _RATES[self.config.stage], **_ADAM}]
        return [*groups, {"params": critic, **_CRITIC}] if critic else groups

    def finished(self, capture: Capture) -> tuple[Model, Capture]:
        frequencies = self.networks.frequencies
        config = Config(len(self.shapes), frequencies, "normals" if frequencies else "shaded", self.config.cell)
        model = Model(config, self.body)
        model.networks.load_state_dict(self.networks.state_dict())
        model.shape.fit(self.shapes.detach())
        latents = [{"shape": one.numpy()} for one in model.shape.people]
        if model.detail is not None:
            model.detail.fit(self.details.detach())
            for known, one in zip(latents, model.detail.people):
                known["detail"] = one.numpy()
        return model, self.lessons.capture.showing(config.picture, latents)

    def _fine(self, batch: RayBatch, pictures: list[fine.Pictures]) -> dict[str, Tensor]:
        frame, code = batch.frame, self.shapes[batch.frame]
        if frame not in self._scans:
            self._scans[frame] = ScanOnPerson.of(self.networks, code, self.lessons, frame)
        with torch.no_grad():
            person = self.networks.sparse_person(code, self.lessons.registered(frame).betas)
        camera = None if self.critic is None else batch.camera
        found, made = fine.terms(
            person, self.details[frame], self._scans[frame], self.lessons, frame, self.config.points, camera
        )
        if made is not None:
            pictures.append(made)
        return found


def take_stage(path: Path, networks: Networks, people: int) -> Tensor:
    """Loads what an earlier stage has learnt; the shape codes [people, 64]. Raises AvatarError for something else, or
    codes of another number of scans."""
    from ...actor import Actor

    if path.suffix == ".ckpt":
        found = checkpoint.read(path)
        state, codes = found.networks, found.shapes
    else:
        model: Any = Actor.load(path)._model
        if not isinstance(model, Model):
            raise actor_file.ActorFileError(f"{path} is an actor of another method; 'start' needs one of gDNA")
        state = model.networks.state_dict()
        codes = torch.stack([model.shape(one) for one in model.shape.people])
    if len(codes) != people:
        raise ConfigError(f"{path} has codes of {len(codes)} scans, the capture has {people}; use the same scans")
    kept = {name: value for name, value in networks.state_dict().items()}
    fits = {name: value for name, value in state.items() if name in kept and value.shape == kept[name].shape}
    networks.load_state_dict(kept | fits)
    return codes.detach()
