"""What is trained: the networks, and the codes of every scan."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ...actor_file import ActorFileError
from ...body import Body
from ...config import ConfigError
from ...data.capture import Capture
from ..base import RayBatch
from . import checkpoint, coarse, colour, fine
from .body import SmplBody
from .config import Config
from .correspondences import ScanOnPerson
from .discriminator import Discriminator
from .field import Networks
from .lessons import Lessons
from .model import Model
from .networks import CODE

STAGES = ("coarse", "fine", "colour")
_CLIP = 0.1  # largest norm of a gradient
_SCANS = 64  # whose correspondences are kept, about 40 MB each
_RATES = {"coarse": 1e-3, "fine": 2e-3, "colour": 2e-3}
_ADAM: dict[str, Any] = {"betas": (0.9, 0.999), "eps": 1e-8}
_CRITIC: dict[str, Any] = {"lr": 2e-3, "betas": (0.0, 0.99), "eps": 1e-8}


@dataclass(frozen=True)
class TrainingConfig:
    """Options under `config:` of a training file."""

    stage: str = "coarse"
    """'coarse': shape and skinning; 'fine': normals; 'colour': of textured scans"""
    start: str = ""
    """what a later stage goes on from: the .actor of the stage before, of the same scans, or a published checkpoint"""
    points: int = 2000
    """of a scan in a step, by its surface"""
    frequencies: int = 4
    """of the encoding of the network that is learnt; published: 6 for THuman2.0"""
    code_rate: float = 1.0
    """times the learning rate of codes: as published for hundreds of thousands of steps; with few, 10 and more, so that
    scans become different from their mean"""
    adversarial: bool = True
    """whether a discriminator of pictures judges too; of colours, together with the normals of the fine stage"""
    cell: float = 0.008
    """metres between grid points of the actor's surface"""

    def __post_init__(self) -> None:
        if self.stage not in STAGES:
            raise ConfigError(f"'stage' must be {' or '.join(STAGES)}, got {self.stage!r}")
        if not (8 <= self.points <= 1 << 20 and 1 <= self.frequencies <= 16):
            raise ConfigError(f"'points' must be 8 to {1 << 20} and 'frequencies' 1 to 16")
        if not 0 < self.code_rate <= 1000:
            raise ConfigError("'code_rate' must be positive, up to 1000")
        if (self.stage == "coarse") == bool(self.start):
            raise ConfigError("name the .actor of the stage before as 'start'; the stage 'coarse' takes none")


class Trainee(nn.Module):
    """Implements methods.base.Trainee."""

    shapes: nn.Parameter  # [n, 64]
    details: nn.Parameter  # [n, 64]
    colours: nn.Parameter  # [n, 64]
    critic: Discriminator | None
    step: Tensor
    lessons: Lessons

    def __init__(self, config: TrainingConfig, body: Body) -> None:
        super().__init__()
        self.config, self.body = config, body
        self.networks = Networks(0)
        self.networks.network.start_as_ball()
        self.register_buffer("step", torch.zeros((), dtype=torch.long))
        self._scans: dict[int, ScanOnPerson] = {}

    def prepare(self, capture: Capture, frames: Sequence[int]) -> None:
        device = self.step.device
        self.lessons = Lessons(capture, frames, SmplBody(self.body, device=device))
        people = len(self.lessons)
        self.shapes, self.details, self.colours = (nn.Parameter(torch.zeros(people, CODE)) for _ in range(3))
        self.critic = None
        if self.config.stage != "coarse":
            self._go_on(read_stage(Path(self.config.start), people))
        self.to(device)  # what was made here; it begins with the same numbers on every device

    def _go_on(self, before: Stage) -> None:
        """Makes what the stage adds, and freezes all that is there already. Raises ConfigError."""
        config, fine_stage = self.config, self.config.stage == "fine"
        if not fine_stage and not self.lessons.capture.textured:
            raise ConfigError(
                f"the scans of {self.lessons.capture.folder} have no textures, which 'colour' learns from"
            )
        if not fine_stage and config.adversarial and not before.frequencies:
            raise ConfigError(
                "the discriminator of colours sees normals too: start from the fine stage, or leave it out"
            )
        if fine_stage:
            self.networks = Networks(config.frequencies)
        else:
            self.networks = Networks(before.frequencies, config.frequencies)
        new = self.networks.state_dict()
        fits = {
            name: value for name, value in before.networks.items() if name in new and value.shape == new[name].shape
        }
        self.networks.load_state_dict(new | fits)
        self.shapes.data.copy_(before.shapes)
        self.details.data.copy_(before.details)
        if config.adversarial:
            self.critic = Discriminator(self.lessons.capture.cameras[0].camera.width, 3 if fine_stage else 6)
        learnt = self.networks.norm_network if fine_stage else self.networks.colour_network
        assert learnt is not None
        frozen = [self.shapes, *self.networks.parameters(), self.colours if fine_stage else self.details]
        for parameter in frozen:
            parameter.requires_grad_(False)
        learnt.requires_grad_(True)

    def losses(self, batches: Sequence[RayBatch], progress: float) -> dict[str, Tensor]:
        total: dict[str, Tensor] = {}
        pictures: list[fine.Pictures] = []
        for batch in batches:
            if self.config.stage == "coarse":
                found = self._coarse(batch.frame)
            else:
                found = self._later(batch, pictures)
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
        learnt = [one for one in self.networks.parameters() if one.requires_grad and id(one) not in judged]
        codes = [one for one in (self.shapes, self.details, self.colours) if one.requires_grad]
        rate = _RATES[self.config.stage]
        groups = [
            {"params": learnt, "lr": rate, **_ADAM},
            {"params": codes, "lr": self.config.code_rate * rate, **_ADAM},
        ]
        return [*groups, {"params": critic, **_CRITIC}] if critic else groups

    def finished(self, capture: Capture) -> tuple[Model, Capture]:
        stage, networks = self.config.stage, self.networks
        config = Config(
            people=len(self.shapes),
            frequencies=networks.frequencies,
            picture={"coarse": "shaded", "fine": "normals", "colour": "colour"}[stage],
            cell=self.config.cell,
            colours=self.config.frequencies if stage == "colour" else 0,
        )
        model = Model(config, self.body)
        model.networks.load_state_dict(networks.state_dict())
        tables = {"shape": self.shapes, "detail": self.details, "colour": self.colours}
        latents: list[dict[str, np.ndarray]] = [{} for _ in self.shapes]
        for name in model.schema.latents:
            codes = getattr(model, name)
            codes.fit(tables[name].detach())
            for known, one in zip(latents, codes.people):
                known[name] = one.numpy()
        return model.to(self.step.device), self.lessons.capture.showing(config.picture, latents)

    def _coarse(self, frame: int) -> dict[str, Tensor]:
        networks, code, step = self.networks, self.shapes[frame], int(self.step)
        found = coarse.body_terms(networks, code, self.lessons, frame)
        if step >= coarse.BODY_STEPS:
            bones = step < coarse.BONE_STEPS
            found |= coarse.terms(networks, code, self.lessons, frame, self.config.points, bones)
        return found

    def _later(self, batch: RayBatch, pictures: list[fine.Pictures]) -> dict[str, Tensor]:
        """Terms of the stages after the coarse one."""
        frame, points = batch.frame, self.config.points
        camera, scan, detail = None if self.critic is None else batch.camera, self._scan(frame), self.details[frame]
        if self.config.stage == "fine":
            found, made = fine.terms(scan, detail, self.lessons, frame, points, camera)
        else:
            found, made = colour.terms(scan, (detail, self.colours[frame]), self.lessons, frame, points, camera)
        if made is not None:
            pictures.append(made)
        return found

    def _scan(self, frame: int) -> ScanOnPerson:
        if frame not in self._scans:
            if len(self._scans) == _SCANS:
                del self._scans[next(iter(self._scans))]
            self._scans[frame] = ScanOnPerson.of(self.networks, self.shapes[frame], self.lessons, frame)
        return self._scans[frame]


@dataclass(frozen=True, eq=False)
class Stage:
    """What an earlier stage has learnt: parameters of Networks by name, codes [n, 64], octaves of its normals."""

    networks: dict[str, Tensor]
    shapes: Tensor
    details: Tensor
    frequencies: int


def read_stage(path: Path, people: int) -> Stage:
    """Of an actor, or of a published checkpoint. Raises AvatarError for another file, or codes of another number of
    scans."""
    from ...actor import Actor

    if path.suffix == ".ckpt":
        found = checkpoint.read(path)
        stage = Stage(found.networks, found.shapes, found.details, found.frequencies)
    else:
        model = Actor.load(path)._model
        if not isinstance(model, Model):
            raise ActorFileError(f"{path} is an actor of another method; 'start' needs one of gDNA")
        shapes = torch.stack([model.shape(one) for one in model.shape.people])
        details = torch.zeros_like(shapes)
        if model.detail is not None:
            details = torch.stack([model.detail(one) for one in model.detail.people])
        stage = Stage(model.networks.state_dict(), shapes, details, model.config.frequencies)
    if len(stage.shapes) != people:
        raise ConfigError(
            f"{path} has codes of {len(stage.shapes)} scans, the capture has {people}; use the same scans"
        )
    return stage
