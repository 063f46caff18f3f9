"""NPVA as it is trained: the model, and what is known of errors in pictures."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from avatar_core.data.multiface_capture import MultifaceCapture
from avatar_core.methods.npva import Config, Model
from avatar_core.methods.npva.importer import frame_latent, frame_positions, read_positions
from avatar_core.methods.npva.phases import CELLS, record_errors
from avatar_core.methods.npva.training import Lesson, learn

from ..processes import Processes

_RATE = 1e-3
_SETTLED = 0.5  # share of a run after which means and variances stay: what is rendered is what is trained
_SPREAD = 0.1  # of the first latents, around one of spread 1: alike, for their statistics are averaged


@dataclass(frozen=True)
class Attempt:
    """One picture of a step. picture: its place in the error maps. pixels: [N, 2] int64 x, y. patch: of pixels that are
    a square: their perceptual distance."""

    lesson: Lesson
    picture: int
    pixels: np.ndarray
    patch: Callable[[Tensor, Tensor], Tensor] | None = None


class Student(nn.Module):
    """Implements methods.base.Trainee, with attempts for batches."""

    errors: Tensor  # [frames * cameras, CELLS, CELLS]

    def __init__(self, config: Config, capture: MultifaceCapture, processes: Processes) -> None:
        super().__init__()
        self.model = Model(config, capture.body)
        self.capture, self.processes = capture, processes
        self.register_buffer("errors", torch.zeros(len(capture.frames) * len(capture.cameras), CELLS, CELLS))

    def prepare(self, capture: MultifaceCapture, frames: Sequence[int]) -> None:
        self.model.set_positions(*read_positions(capture.folder))
        values = _coefficients(capture, frames)
        self.model.driver.set_range(values.amin(0), values.amax(0))
        if self.model.encoder is None:
            nn.init.normal_(self.model.driver.bias)
            nn.init.normal_(self.model.driver.weight, std=_SPREAD)

    def losses(self, batches: Sequence[Attempt], progress: float) -> dict[str, Tensor]:
        if progress > _SETTLED:
            for part in self.model.modules():
                if isinstance(part, nn.BatchNorm2d):
                    part.eval()
        total: dict[str, Tensor] = {}
        for one in batches:
            pixels = torch.as_tensor(one.pixels, device=self.errors.device)
            found = learn(self.model, one.lesson, pixels, one.patch)
            height, width = one.lesson.photo.shape[:2]
            record_errors(self.errors[one.picture], pixels, found.errors, width, height)
            terms = {**found.terms, "colour": found.errors.square().mean() / 3}
            for name, value in terms.items():
                total[name] = total.get(name, torch.zeros(())) + value / len(batches)
        return total

    def before_step(self) -> None:
        """Gradients and running means become those of all processes."""
        for parameter in self.parameters():
            if parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)
        running = [value for name, value in self.named_buffers() if "running" in name or name == "errors"]
        gradients = [parameter.grad for parameter in self.parameters() if parameter.grad is not None]
        with torch.no_grad():
            self.processes.average([*gradients, *running])

    def after_step(self, step: int, steps: int) -> None:
        self.model.forget()

    def parameter_groups(self) -> list[dict[str, Any]]:
        return [{"params": list(self.model.parameters()), "lr": _RATE}]

    def finished(self, capture: MultifaceCapture) -> tuple[Model, MultifaceCapture]:
        """With an encoder, coefficients lead to the latents of frames: of the training ones where there are
        coefficients, else of all, whose meshes and textures drive the published head. With a map for tracked meshes,
        these lead to the same latents."""
        model, folder = self.model.eval(), capture.folder
        if model.encoder is None and model.mesh is None:
            return model, capture
        named = (folder / "expressions.txt").is_file()
        chosen = [k for k, frame in enumerate(capture.frames) if frame.split == "train" or not named]
        moments = [capture.source.moments[k] for k in chosen]
        with torch.no_grad():
            if model.encoder is None:
                latents = torch.cat([model.drive(capture.frames[k].controls.expression) for k in chosen])
            else:
                latents = torch.cat([frame_latent(model, folder, one.sequence, one.frame) for one in moments])
                model.driver.fit(_coefficients(capture, chosen).to(latents), latents, 1e-3 if named else 1e-9)
            if model.mesh is not None:
                model.fit_mesh((frame_positions(folder, one.sequence, one.frame) for one in moments), latents)
        return model, capture


def _coefficients(capture: MultifaceCapture, frames: Sequence[int]) -> Tensor:
    return torch.as_tensor(np.array([capture.frames[frame].controls.expression for frame in frames]))
