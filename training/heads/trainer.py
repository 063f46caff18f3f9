"""The one training loop on an identity in Multiface's layout: NPVA, in one process or several."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import numpy as np
import torch

from avatar_core.config import ConfigError, read_options
from avatar_core.data.multiface_capture import MultifaceCapture
from avatar_core.errors import AvatarError
from avatar_core.methods.npva import Config
from avatar_core.methods.npva.importer import frame_positions, read_texture
from avatar_core.methods.npva.phases import error_pixels, grid_pixels, patch_pixels
from avatar_core.methods.npva.space import placed_view
from avatar_core.methods.npva.training import Lesson

from ..options import TrainOptions
from ..processes import Processes
from ..sampling import Perceptual
from ..trainer import Trainer
from .student import Attempt, Student

_GRID_UNTIL, _ERRORS_UNTIL = 0.3, 0.7  # of the steps, as published
_KEPT = 64  # lessons in memory


def is_identity(folder: str) -> bool:
    return (Path(folder) / "KRT").is_file()


class LessonSampler:
    """Draws pictures and pixels in them: on a grid, then where errors are, then, with a perceptual loss, squares."""

    def __init__(self, capture: MultifaceCapture, student: Student, options: TrainOptions) -> None:
        self.cameras = [i for i, camera in enumerate(capture.cameras) if camera.split == "train"]
        self.frames = [i for i, frame in enumerate(capture.frames) if frame.split == "train"]
        self._capture, self._student, self._options = capture, student, options
        self._read = lru_cache(_KEPT)(self._lesson)

    def draw(self, step: int, perceptual: Perceptual | None = None) -> list[Attempt]:
        """One batch; the same seed, step and process give the same one."""
        rng = np.random.default_rng((self._options.seed, step, self._student.processes.rank))
        return [self._attempt(step, rng, perceptual) for _ in range(self._options.pictures)]

    def _attempt(self, step: int, rng: np.random.Generator, perceptual: Perceptual | None) -> Attempt:
        camera, frame = int(rng.choice(self.cameras)), int(rng.choice(self.frames))
        lesson, picture = self._read(camera, frame), frame * len(self._capture.cameras) + camera
        height, width = lesson.photo.shape[:2]
        done, count = step / self._options.steps, self._options.pixels
        assert lesson.mask is not None
        if perceptual is not None and done >= _ERRORS_UNTIL:
            pixels = patch_pixels(lesson.mask.cpu().numpy() > 0.5, round(count**0.5), rng)
            side = round(len(pixels) ** 0.5)
            if side * side == len(pixels):
                return Attempt(lesson, picture, pixels, perceptual)
        if done < _GRID_UNTIL:
            pixels = grid_pixels(width, height, rng)
        else:
            errors = self._student.errors[picture].cpu().numpy()
            pixels = error_pixels(errors, width, height, count, rng)
        return Attempt(lesson, picture, rng.permutation(pixels)[:count])

    def _lesson(self, camera: int, frame: int) -> Lesson:
        capture, device = self._capture, self._student.errors.device
        source, moment, controls = capture.source, capture.source.moments[frame], capture.frames[frame].controls
        view, _ = placed_view(capture.cameras[camera].camera, np.asarray(controls.head), device)
        image = torch.as_tensor(capture.image(camera, frame), device=device).float() / 255
        texture = None
        if self._student.model.encoder is not None:
            texture = read_texture(source.texture_path(moment)).to(device)
        return Lesson(
            view=view,
            photo=image[..., :3] * image[..., 3:],
            positions=frame_positions(capture.folder, moment.sequence, moment.frame).to(device),
            expression=torch.as_tensor(controls.expression, device=device),
            texture=texture,
            depth=torch.as_tensor(capture.depth(camera, frame), device=device),
            mask=image[..., 3],
        )


class HeadTrainer(Trainer):
    """The first of several processes writes the run."""

    model: Student
    capture: MultifaceCapture

    def _open(self) -> None:
        options = self.options
        if options.method != "npva":
            raise ConfigError(f"an identity in Multiface's layout trains 'method: npva', not '{options.method}'")
        self.processes = Processes.join()
        self.writes = self.processes.rank == 0
        self.capture = MultifaceCapture.open(options.capture)
        given = {"expressions": list(self.capture.names), "shape_keys": {}, **options.config}
        if tuple(given["expressions"]) == Config().expressions and "shape_keys" not in options.config:
            del given["shape_keys"]
        config = read_options(Config, given, "the method's config")
        if len(config.expressions) != len(self.capture.names):
            raise ConfigError(f"{options.capture} has {len(self.capture.names)} coefficients, 'expressions' others")
        if not config.encoder and not (self.capture.folder / "expressions.txt").is_file():
            raise ConfigError(f"{options.capture} has no expressions.txt; add it, or train with 'encoder: true'")
        self.model = Student(config, self.capture, self.processes).to(self.device)
        self.sampler = LessonSampler(self.capture, self.model, options)
        if not self.sampler.cameras or not self.sampler.frames:
            raise AvatarError(f"{options.capture} has no training cameras or no training frames")
        self.model.prepare(self.capture, self.sampler.frames)

    def _perceptual(self) -> Perceptual | None:
        if not self.options.perceptual:
            return None
        from ..perceptual import PerceptualLoss

        return PerceptualLoss(Path(self.options.perceptual)).to(self.device)

    def run(self) -> Path:
        if self.writes:
            return super().run()
        while self.progress < 1:
            self.train_step()
        return self.folder / f"{self.options.name}.actor"

    def train_step(self) -> dict[str, float]:
        losses = super().train_step()
        self.seconds = self.processes.first(self.seconds)
        return losses
