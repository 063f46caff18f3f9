"""The one training loop on a capture of people: HumanViewSynthesis, a stage a run."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from avatar_core import __version__
from avatar_core.actor import Actor, describe
from avatar_core.body.template import load_template
from avatar_core.config import ConfigError, read_options
from avatar_core.data.people.capture import PeopleCapture
from avatar_core.data.people.views import Moments, ViewReader, pose_view
from avatar_core.errors import AvatarError
from avatar_core.methods.human_view_synthesis.augmentation import coloured, random_colours
from avatar_core.methods.human_view_synthesis.config import Config
from avatar_core.methods.human_view_synthesis.lessons import Views
from avatar_core.methods.human_view_synthesis.losses import over
from avatar_core.methods.human_view_synthesis.model import Model
from avatar_core.methods.human_view_synthesis.training import STAGES, Student
from avatar_core.nn.vgg import VggDistance

from ..options import TrainOptions
from ..trainer import Trainer
from .evaluate import draw, measure_people

METHOD = "human_view_synthesis"
_SHOWN = 4  # views of a person that their appearance is the mean of


def is_people(folder: str) -> bool:
    return (Path(folder) / "people.json").exists()


class PairSampler:
    """Draws people: each as two cameras see them, or for the pose network as one does."""

    def __init__(self, capture: PeopleCapture, config: Config, root: int, options: TrainOptions, device: str) -> None:
        self.moments = Moments(capture.recordings, root, "train", "train", "train")
        if not len(self.moments):
            raise AvatarError(f"{options.capture} has no training people, cameras or frames with a known root joint")
        self._reader, self._root, self._options = ViewReader(config.size, config.extent), root, options
        self._device = device
        self.people = sorted({recording.person for recording in self.moments.recordings})

    def draw(self, step: int, _: object = None) -> list[tuple[Views, Views]]:
        """One batch; the same seed and step give the same one."""
        rng = np.random.default_rng((self._options.seed, step))
        poses = self._options.stage == "pose"
        first, second, people = [], [], []
        for _ in range(self._options.pictures):
            recording, frame, cameras = self.moments.draw(rng, 2)
            people.append(self.people.index(recording.person))
            if poses:
                first.append(pose_view(recording, cameras[0], frame))
            else:
                first.append(self._reader.read(recording, cameras[0], frame))
                second.append(self._reader.read(recording, cameras[1], frame))
        one = replace(Views.of(first, self._root, self._device), people=torch.tensor(people, device=self._device))
        if poses:
            return [(one, one)]
        other = Views.of(second, self._root, self._device)
        if self._options.recolour:
            matrices = random_colours(len(first), self._options.recolour)
            one, other = (replace(views, pictures=_recoloured(views.pictures, matrices)) for views in (one, other))
        return [(one, other)]


class PeopleTrainer(Trainer):
    """Leaves OUTPUT/metrics.json and, but for the stage 'pose', an actor: the mean of the generator's weights."""

    model: Student
    sampler: PairSampler
    people: PeopleCapture

    def _open(self) -> None:
        options = self.options
        if options.method != METHOD or options.stage not in STAGES:
            raise ConfigError(f"a capture of people needs 'method: {METHOD}' and a 'stage': {', '.join(STAGES)}")
        self.people = PeopleCapture.open(options.capture)
        config = read_options(Config, {"skeleton": self.people.skeleton, **options.config}, "the method's config")
        self._check(config)
        distance = VggDistance(Path(options.perceptual)) if options.perceptual and options.stage != "pose" else None
        background = [value / 255 for value in self.people.background]
        self.sampler = PairSampler(self.people, config, config.skeleton_of().root, options, self.device)
        learnt = len(self.sampler.people) if options.learn_people and options.stage != "pose" else 0
        self.model = Student(config, options.stage, background, distance, learnt).to(self.device)
        if options.start:
            self._take(Path(options.start) / "checkpoint.pt")

    def _check(self, config: Config) -> None:
        stage = self.options.stage
        if config.skeleton != self.people.skeleton:
            raise ConfigError(f"{self.options.capture} has joints of {self.people.skeleton}, not of {config.skeleton}")
        if stage == "pose" and not config.pose_width:
            raise ConfigError("the stage 'pose' trains the pose network, which 'pose_width: 0' leaves out")
        if stage != "pose" and not config.encoder:
            raise ConfigError(f"the stage '{stage}' needs the network that 'encoder: false' leaves out")
        if self.options.learn_people and self.options.recolour:
            raise ConfigError("'recolour' makes people whom 'learn_people' knows nothing of: leave one of them out")
        if stage == "adversarial" and not self.options.start:
            raise ConfigError("the stage 'adversarial' goes on from the stage 'views': name its folder as 'start'")

    def _perceptual(self) -> None:
        return None

    def _take(self, path: Path) -> None:
        try:
            saved = torch.load(path, map_location="cpu", weights_only=True)
            state, stage = saved["model"], json.loads(saved["options"])["stage"]
        except Exception as error:  # torch raises many kinds for a missing or damaged file
            raise AvatarError(f"{path} is no checkpoint of another stage; train that first") from error
        taken = self.model.start_from(state, stage)
        if not taken:
            raise ConfigError(f"{path} has no weights that fit this config")
        print(f"starts with {', '.join(taken)} of {path.parent}")

    def _picture(self) -> np.ndarray:
        """What the network was given, what it should draw, and what it draws, for four held-out views."""
        chosen = Moments(self.people.recordings, self.model.skeleton.root, "train", None, "test")
        moments = chosen if len(chosen) else self.sampler.moments
        rng, rows = np.random.default_rng(self.options.seed), []
        if self.options.stage == "pose":
            return np.zeros((1, 1, 3), np.uint8)
        for _ in range(4):
            recording, frame, cameras = moments.draw(rng, 2)
            shown = draw(self.model, recording, frame, cameras[0], cameras[1])
            rows.append(np.concatenate([_on(picture, self.model.background) for picture in shown], 1))
        return np.concatenate(rows)

    def actor(self, metrics: dict[str, Any]) -> Actor:
        """The mean of the weights, on our own body, looking like the first of the people."""
        body = load_template()
        model = Model(self.model.config, body)
        model.generator.load_state_dict(self.model.average.state_dict())
        first = self.sampler.moments.recordings[0]
        shown = [(place, view) for place, view in enumerate(first.cameras) if view.split == "train"][:_SHOWN]
        reader = ViewReader(self.model.config.size, self.model.config.extent)
        model.eval().look_like(model.read_appearance([reader.read(first, place, 0).picture for place, _ in shown]))
        provenance = {
            "name": self.options.name,
            "dataset": self.people.name,
            "stage": self.options.stage,
            "steps": self.step,
            "metrics": metrics,
            "date": datetime.now(UTC).date().isoformat(),
            "avatar_core": __version__,
        }
        return Actor(model, body, describe(METHOD, model, body, provenance, self.options.licence))

    def _export(self) -> Path:
        """The actor, or the checkpoint of the pose stage, which alone draws nothing."""
        results = measure_people(self.model, self.people, self.options.evaluate_pictures)
        for name, row in results.items():
            print(f"{name}: " + "  ".join(f"{key} {value:g}" for key, value in row.items()))
        (self.folder / "metrics.json").write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
        if self.options.stage == "pose":
            return self.checkpoint
        path = self.folder / f"{self.options.name}.actor"
        self.actor(results).save(path)
        return path


def _recoloured(pictures: Tensor, matrices: Tensor) -> Tensor:
    """[B, 4, S, S], alpha as it is."""
    return torch.cat([coloured(pictures[:, :3], matrices).clamp(0, 1), pictures[:, 3:]], 1)


def _on(picture: Tensor, background: Tensor) -> np.ndarray:
    """[S, S, 3] uint8 of [C, S, S]."""
    flat = over(picture[None], background[None])[0].clamp(0, 1)
    return (flat.permute(1, 2, 0) * 255).round().byte().cpu().numpy()
