"""The one training loop: any method, any capture. Long, cancellable, and resumable at any moment."""

from __future__ import annotations

import json
import os
import time
from dataclasses import asdict, fields
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tqdm import tqdm

from avatar_core import __version__
from avatar_core.actor import Actor, describe
from avatar_core.config import ConfigError, read_options
from avatar_core.cuda.sparse_adam import SparseAdam
from avatar_core.data.capture import Capture
from avatar_core.data.head_capture import open_capture
from avatar_core.device import choose
from avatar_core.errors import AvatarError
from avatar_core.methods import load_method
from avatar_core.methods.base import TrainableModel, Trainee

from .evaluate import Evaluation, evaluate, rendered_pair
from .options import TrainOptions
from .perceptual import SMALLEST, PerceptualLoss
from .refinement import RATE, PoseRefinement
from .sampling import Perceptual, RaySampler

_PREVIEW_HEIGHT = 256  # at most; and no higher than captured pictures
_WARM_STEPS, _WARM_SHARE = 100, 0.05  # the learning rate has risen after so many steps, or that share of the run


class Trainer:
    """A run in a folder. Made again with the same options, it goes on where its last checkpoint is."""

    sampler: Any  # what draws batches of the model's kind
    writes = True  # the run; of several processes one does

    def __init__(self, options: TrainOptions) -> None:
        self.options = options
        self.folder = Path(options.output)
        self.device = choose(options.device)
        torch.manual_seed(options.seed)
        self._open()
        groups = self.model.parameter_groups()
        self.refinement: PoseRefinement | None = None
        if options.refine_poses:
            if not getattr(self.model, "takes_corrections", False):
                raise ConfigError(f"the method '{options.method}' cannot refine poses; leave 'refine_poses' out")
            self.refinement = PoseRefinement(self.sampler.frames, len(self.capture.body.joint_names)).to(self.device)
            groups.append({"params": list(self.refinement.parameters()), "lr": RATE})
        self.perceptual = self._perceptual()
        self.optimizers = _optimizers(groups)
        self._rates = [
            [options.rate * group["lr"] for group in optimizer.param_groups] for optimizer in self.optimizers
        ]
        self.step, self.seconds = 0, 0.0
        self.folder.mkdir(parents=True, exist_ok=True)
        self._resume()

    @property
    def checkpoint(self) -> Path:
        return self.folder / "checkpoint.pt"

    @property
    def progress(self) -> float:
        """The share of the run that is done, 0 to 1: of its steps, or of its time."""
        return max(self.step / self.options.steps, self.seconds / (60 * self.options.minutes))

    def run(self) -> Path:
        """Trains to the end, evaluates, and returns the path of the actor. Ctrl-C leaves a checkpoint."""
        log = _Log(self.folder, self.step)
        bar = tqdm(initial=self.step, total=self.options.steps, unit="step", desc=self.options.name)
        try:
            while self.progress < 1:
                losses = self.train_step()
                if self.step % self.options.log_every == 0:
                    if "colour" in losses:
                        losses["psnr"] = -10 * float(np.log10(max(losses["colour"], 1e-10)))
                    told = "psnr" if "psnr" in losses else next(iter(losses))
                    bar.set_postfix({told: f"{losses[told]:.4g}"})
                    log.scalars(self.step, losses)
                if self.step % self.options.picture_every == 0:
                    log.picture(self.step, self._picture())
                if self.step % self.options.checkpoint_every == 0:
                    self._save()
                bar.update()
        except KeyboardInterrupt:
            self._save()
            raise
        finally:
            bar.close()
            log.close()
        self._save()
        return self._export()

    def train_step(self) -> dict[str, float]:
        """One step of the optimiser; the losses by name. Raises AvatarError when they are no numbers any more."""
        start, progress = time.perf_counter(), self.progress
        torch.manual_seed(self.options.seed + self.step)
        warm = min(1.0, max((self.step + 1) / _WARM_STEPS, progress / _WARM_SHARE))
        for optimizer, rates in zip(self.optimizers, self._rates, strict=True):
            for group, rate in zip(optimizer.param_groups, rates, strict=True):
                group["lr"] = rate * self.options.final_rate**progress * warm
        self.model.train()
        batches = self.sampler.draw(self.step, self.perceptual)
        if self.refinement is not None:
            batches = [self.refinement.correct(batch) for batch in batches]
        losses = self.model.losses(batches, progress)
        if self.refinement is not None:
            losses["refinement"] = self.refinement.loss(batches)
        total = torch.stack(list(losses.values())).sum()
        if not bool(torch.isfinite(total)):
            raise AvatarError(f"training diverged at step {self.step}; lower the learning rate or check the poses")
        for optimizer in self.optimizers:
            optimizer.zero_grad(set_to_none=True)
        total.backward()
        if hasattr(self.model, "before_step"):
            self.model.before_step()
        for optimizer in self.optimizers:
            optimizer.step()
        self.step += 1
        self.model.after_step(self.step, self.options.steps)
        self.seconds += time.perf_counter() - start
        return {name: float(value.detach()) for name, value in losses.items()}

    def _open(self) -> None:
        """Makes the capture, the model and what draws its batches. Raises AvatarError for options that do not fit."""
        self.capture = open_capture(self.options.capture, self.options.test_start or None)
        method = load_method(self.options.method)
        kind = getattr(method, "TrainingConfig", method.Config)
        config = read_options(kind, self.options.config, "the method's config")
        self.model = getattr(method, "Trainee", method.Model)(config, self.capture.body).to(self.device)
        if not isinstance(self.model, TrainableModel | Trainee):
            raise ConfigError(
                f"the method '{self.options.method}' cannot be trained here; 'avatar import' makes its actors"
            )
        self.sampler = RaySampler(self.capture, self.options)
        if not self.sampler.cameras or not self.sampler.frames:
            raise AvatarError(f"{self.options.capture} has no training cameras or no training frames")
        self.model.prepare(self.capture, self.sampler.frames)

    def _perceptual(self) -> Perceptual | None:
        """Raises ConfigError where it cannot be used, AvatarError for weights that cannot."""
        if not self.options.perceptual:
            return None
        if not getattr(self.model, "takes_perceptual", False):
            raise ConfigError(f"the method '{self.options.method}' has no perceptual loss; leave 'perceptual' out")
        if self.options.pixels < SMALLEST**2:
            raise ConfigError(f"'perceptual' needs 'pixels' of at least {SMALLEST**2}, got {self.options.pixels}")
        loss, weight = PerceptualLoss(Path(self.options.perceptual)).to(self.device), self.options.perceptual_weight
        return lambda rendered, captured: weight * loss(rendered, captured)

    def _picture(self) -> np.ndarray:
        """A held-out picture beside the rendered one: [H, 2 W, 3] uint8."""
        cameras = [i for i, camera in enumerate(self.capture.cameras) if camera.split == "test"]
        frames = [i for i, frame in enumerate(self.capture.frames) if frame.split == "test"]
        camera, frame = (cameras or self.sampler.cameras)[0], (frames or self.sampler.frames)[0]
        actor, capture = self._finished({})
        truth, rendered = rendered_pair(actor, capture, camera, frame, "preview")
        return np.round(np.concatenate([truth.rgb, rendered.rgb], 1) * 255).astype(np.uint8)

    def _save(self) -> None:
        state = {
            "step": self.step,
            "seconds": self.seconds,
            "options": json.dumps(self._identity()),
            "model": self.model.state_dict(),
            "refinement": self.refinement.state_dict() if self.refinement is not None else {},
            "optimizers": [optimizer.state_dict() for optimizer in self.optimizers],
        }
        temporary = self.checkpoint.with_suffix(".part")
        try:
            torch.save(state, temporary)
            os.replace(temporary, self.checkpoint)
        except (OSError, RuntimeError) as error:
            temporary.unlink(missing_ok=True)
            raise AvatarError(f"the checkpoint {self.checkpoint} cannot be written: {error}") from error

    def _resume(self) -> None:
        if not self.checkpoint.exists():
            return
        try:
            state = torch.load(self.checkpoint, map_location="cpu", weights_only=True)  # the counts of steps stay there
            same = json.loads(state["options"]) == self._identity()
        except Exception as error:  # torch raises many kinds for a damaged file
            raise AvatarError(f"{self.checkpoint} is damaged; delete it to start again") from error
        if not same:
            raise ConfigError(f"{self.folder} holds a run with other options; choose another 'output' or delete it")
        self.model.load_state_dict(state["model"])
        if self.refinement is not None:
            self.refinement.load_state_dict(state["refinement"])
        for optimizer, saved in zip(self.optimizers, state["optimizers"], strict=True):
            optimizer.load_state_dict(saved)
        self.step, self.seconds = state["step"], state["seconds"]

    def _identity(self) -> dict[str, Any]:
        """The options that a run cannot change half-way, where they are not the defaults, so that runs go on when
        there are new options."""
        free = {"device", "log_every", "checkpoint_every", "picture_every", "output", "evaluate_pictures", "licence"}
        free |= {"steps", "minutes"}
        defaults = {option.name: option.default for option in fields(TrainOptions)}
        chosen = asdict(self.options).items()
        return {name: value for name, value in chosen if name not in free and value != defaults[name]}

    def actor(self, metrics: dict[str, Any]) -> Actor:
        """The actor as it stands, with metrics for its provenance."""
        return self._finished(metrics)[0]

    def _finished(self, metrics: dict[str, Any]) -> tuple[Actor, Capture]:
        """The actor, and the capture with what is known of its frames."""
        model, capture = self.model, self.capture
        if isinstance(model, Trainee):
            model, capture = model.finished(capture)
        provenance = {
            "name": self.options.name,
            "dataset": self.capture.name,
            "steps": self.step,
            "metrics": metrics,
            "date": datetime.now(UTC).date().isoformat(),
            "avatar_core": __version__,
        }
        document = describe(self.options.method, model, self.capture.body, provenance, self.options.licence)
        return Actor(model.eval(), self.capture.body, document), capture

    def _export(self) -> Path:
        """Writes the actor, reads it back as users will, measures that, and writes it with its metrics."""
        path = self.folder / f"{self.options.name}.actor"
        unmeasured, capture = self._finished({})
        unmeasured.save(path)
        results: Evaluation = evaluate(Actor.load(path, self.device), capture, self.options.evaluate_pictures, "final")
        actor = self.actor(results.summary())
        camera = self.capture.cameras[self.sampler.cameras[0]].camera
        frame = actor.render(
            capture.frames[self.sampler.frames[0]].controls,
            camera.scaled(min(1.0, _PREVIEW_HEIGHT / camera.height)),
            "final",
        )
        from avatar_core.frame import to_png8

        actor.preview = to_png8(frame)
        actor.save(path)
        return path


def _optimizers(groups: list[dict[str, Any]]) -> list[torch.optim.Optimizer]:
    """Adam for groups of parameters, with decoupled decay for those that name one; sparse Adam for tables whose
    gradients are recorded as factors."""
    settings: dict[str, Any] = {"betas": (0.9, 0.99), "eps": 1e-15}
    decaying = [group for group in groups if "weight_decay" in group]
    dense = [group for group in groups if "factors" not in group and "weight_decay" not in group]
    made: list[torch.optim.Optimizer] = [torch.optim.Adam(dense, **settings)] if dense else []
    if decaying:
        made.append(torch.optim.AdamW(decaying, fused=True))
    for group in groups:
        if "factors" in group:
            (table,) = group["params"]
            made.append(SparseAdam([table], lr=group["lr"], factors={table: group["factors"]}, **settings))
    return made


class _Log:
    """TensorBoard files where the package is installed, and `log.jsonl` always."""

    def __init__(self, folder: Path, step: int) -> None:
        self._lines = (folder / "log.jsonl").open("a", encoding="utf-8")
        self._pictures = folder / "pictures"
        self._pictures.mkdir(exist_ok=True)
        self._start = time.monotonic()
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError:
            tqdm.write("TensorBoard is not installed (pip install 'avatar-core[train]'); writing log.jsonl only")
            self._board = None
        else:
            self._board = SummaryWriter(str(folder / "tensorboard"), purge_step=step)

    def scalars(self, step: int, values: dict[str, float]) -> None:
        seconds = round(time.monotonic() - self._start, 1)
        self._lines.write(json.dumps({"step": step, "seconds": seconds, **values}) + "\n")
        self._lines.flush()
        if self._board is not None:
            for name, value in values.items():
                self._board.add_scalar(f"train/{name}", value, step)

    def picture(self, step: int, image: np.ndarray) -> None:
        from PIL import Image

        Image.fromarray(image).save(self._pictures / f"{step:07d}.png")
        if self._board is not None:
            self._board.add_image("held out", image, step, dataformats="HWC")

    def close(self) -> None:
        self._lines.close()
        if self._board is not None:
            self._board.close()
