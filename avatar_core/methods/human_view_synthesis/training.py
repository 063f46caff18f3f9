"""What is trained, stage by stage: poses first, then views, then views that look real.

The discriminator learns from the very pictures that the generator made in the same step, detached, and the generator
against the discriminator as it was before it: so one sum of both losses, with the discriminator's weights held fixed in
the generator's part, gives the gradients of the published two steps.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn.functional import interpolate

from .appearance import GREY
from .augmentation import AdaptiveAugmentation
from .config import Config
from .discriminator import Discriminator
from .generator import Generator, between_cameras
from .lessons import Views
from .losses import (
    ABSOLUTE,
    APPEARANCE,
    COVERED,
    FOOLING,
    MATCHING,
    PERCEPTUAL,
    READING,
    covered_error,
    fooling,
    gradient_penalty,
    matching,
    over,
    pose_error,
    telling_apart,
)

STAGES = ("pose", "views", "adversarial")
_AVERAGE, _YOUNG = 0.999, 10.0  # of the weights; the average of few steps forgets faster
_PENALTY_EVERY = 16  # steps
_LARGEST = 1.0  # norm of a gradient
_RATES = {"r2i": 2e-3, "i2a": 2e-4, "p2p": 5e-6, "primitives": 2e-3, "discriminator": 2e-3, "people": 1e-3}
_DIFFERENT = 0.5  # deviation of the appearances that people start with
_POSE_RATE = 1e-4

Distance = Callable[[Tensor, Tensor], Tensor]
"""Of two pictures [B, 3, H, W] of display sRGB in [0, 1]: [], how different they look."""


class Student(nn.Module):
    """A generator in training and the running mean of its weights, which is what actors are made of.

    background: [3] display sRGB, behind people where the model draws no alpha.
    """

    background: Tensor
    steps: Tensor

    def __init__(
        self, config: Config, stage: str, background: Sequence[float], distance: Distance | None = None, people: int = 0
    ) -> None:
        """distance: minimised too, where there is one. people: so many have an appearance each that is learnt, and the
        encoder learns to read it: a new encoder gives everybody nearly the same, and no decoder can tell them apart."""
        super().__init__()
        self.config, self.stage, self.skeleton = config, stage, config.skeleton_of()
        self.generator = Generator(config)
        self.average = copy.deepcopy(self.generator).requires_grad_(False).eval()
        shape = people, len(self.generator.primitives), config.features
        self.people = nn.Parameter(_DIFFERENT * torch.randn(shape)) if people else None
        self.discriminator = Discriminator() if stage == "adversarial" else None
        self.augmentation = AdaptiveAugmentation() if stage == "adversarial" else None
        self.register_buffer("background", torch.tensor(tuple(background)))
        self.register_buffer("steps", torch.zeros((), dtype=torch.int64))
        self._distance = distance

    def losses(self, batches: Sequence[tuple[Views, Views]], progress: float) -> dict[str, Tensor]:
        """Of one batch: views, and the same people at the same moments by other cameras. 'colour' is told, not
        minimised."""
        ((first, second),) = batches
        if self.stage == "pose":
            return self._pose_losses(first)
        target = second.pictures
        background = self._backgrounds(len(target))
        poses, extra = self._poses(first, second)
        appearance = self._appearance(self.generator, first.pictures)
        if self.people is not None:
            read, appearance = appearance, self.people[first.people]
            extra["reading"] = READING * (read - appearance.detach()).square().mean()
        made, _ = self.generator.draw(poses, appearance, second.planes(self.config.latent))
        seen, truth = over(made, background), over(target, background)
        found = {
            "absolute": self._colour_error(made, target),
            "appearance": APPEARANCE * appearance.square().mean(),
            "colour": (seen.detach().clamp(0, 1) - truth).square().mean(),
            **extra,
        }
        if made.shape[1] == 4:
            found["alpha"] = ABSOLUTE * (made[:, 3] - target[:, 3]).abs().mean()
        if self._distance is not None:
            found["perceptual"] = PERCEPTUAL * self._distance(seen, truth)
        if self.discriminator is not None:
            found |= self._adversarial_losses(self.discriminator, seen, truth)
        return found

    def _colour_error(self, made: Tensor, target: Tensor) -> Tensor:
        """Published for pictures on one colour; of people alone where alpha is learnt."""
        if made.shape[1] == 4:
            return COVERED * covered_error(made, target)
        return ABSOLUTE * (made - over(target, self.background.expand(len(target), 3))).abs().mean()

    def appearance_of(self, pictures: Tensor) -> Tensor:
        """[B, P, A] of pictures [B, 4, S, S], by the mean of the weights."""
        return self._appearance(self.average, pictures)

    def _appearance(self, generator: Generator, pictures: Tensor) -> Tensor:
        """Before grey, so that nothing but the person differs."""
        assert generator.i2a is not None
        seen, side = over(pictures, pictures.new_full((len(pictures), 3), GREY)), self.config.reads
        if seen.shape[2] != side:
            seen = interpolate(seen, (side, side), mode="bilinear", align_corners=False, antialias=True)
        return generator.i2a(seen)

    def after_step(self, step: int, steps: int) -> None:
        """The average follows; buffers, such as the norms' running squares, are copied."""
        self.steps += 1
        count = float(self.steps)
        share = 1 - min(_AVERAGE, (1 + count) / (_YOUNG + count))
        with torch.no_grad():
            for mean, now in zip(self.average.parameters(), self.generator.parameters(), strict=True):
                mean.lerp_(now, share)
            for kept, new in zip(self.average.buffers(), self.generator.buffers(), strict=True):
                kept.copy_(new)

    def before_step(self) -> None:
        """Long gradients are cut, those of generator and discriminator apart."""
        for part in (self.generator, self.discriminator):
            if part is not None:
                nn.utils.clip_grad_norm_(part.parameters(), _LARGEST)

    def parameter_groups(self) -> list[dict[str, Any]]:
        if self.stage == "pose":
            parameters = list(self._pose_network().parameters())
            return [
                {"params": parameters, "lr": _POSE_RATE, "weight_decay": 0.1, "betas": (0.9, 0.999), "amsgrad": True}
            ]
        trained: dict[str, nn.Module | None] = {
            "r2i": self.generator.r2i,
            "i2a": self.generator.i2a,
            "primitives": self.generator.primitives,
        }
        if self.stage == "views":
            trained["p2p"] = self.generator.p2p
        alone = self.stage == "views"  # published: no momentum and the largest of past squares; so it learns sooner
        settings = {"weight_decay": 0.01, "betas": (0.9 if alone else 0.0, 0.99)}
        groups = [
            {"params": list(part.parameters()), "lr": _RATES[name], "amsgrad": not alone, **settings}
            for name, part in trained.items()
            if part is not None and list(part.parameters())
        ]
        if self.people is not None:
            groups.append({"params": [self.people], "lr": _RATES["people"], **settings})
        if self.discriminator is not None:
            groups.append({"params": list(self.discriminator.parameters()), "lr": _RATES["discriminator"], **settings})
        return groups

    def start_from(self, state: dict[str, Tensor], stage: str) -> list[str]:
        """Takes what fits of the weights that another stage learnt; the names of the networks, sorted."""
        own = self.state_dict()
        taken = {
            name: value
            for name, value in state.items()
            if name in own and name != "steps" and value.shape == own[name].shape
            if stage != "pose" or ".p2p." in name
        }
        self.load_state_dict(taken, strict=False)
        return sorted({name.split(".")[1] for name in taken if name.startswith("generator.")})

    def _pose_network(self) -> nn.Module:
        assert self.generator.p2p is not None
        return self.generator.p2p

    def _pose_losses(self, views: Views) -> dict[str, Tensor]:
        found = self._pose_network()(views.points, views.sure, views.sizes)
        return {"pose": pose_error(found, views.joints, views.known, self.skeleton)}

    def _poses(self, first: Views, second: Views) -> tuple[Tensor, dict[str, Tensor]]:
        """[B, J, 3] before the second cameras: lifted from the first pictures, or as they are where nothing lifts."""
        if self.generator.p2p is None:
            return second.poses, {}
        relative = self.generator.p2p(first.points, first.sure, first.sizes)
        cameras = (first.turn, first.shift), (second.turn, second.shift)
        poses = between_cameras(first.root[:, None] + relative, *cameras)
        return poses, {"pose": pose_error(relative, first.joints, first.known, self.skeleton)}

    def _backgrounds(self, count: int) -> Tensor:
        """[B, 3]: any colour where the model draws alpha, or its own."""
        return torch.rand(count, 3).to(self.background) if self.config.alpha else self.background.expand(count, 3)

    def _adversarial_losses(self, judge: Discriminator, made: Tensor, real: Tensor) -> dict[str, Tensor]:
        assert self.augmentation is not None
        penalised = int(self.steps) % _PENALTY_EVERY == 0
        made, real = self.augmentation(made, real.detach())
        real = real.detach().requires_grad_(penalised)
        real_logits, real_features = judge(real)
        fixed = {name: value.detach() for name, value in judge.named_parameters()}
        logits, features = functional_call(judge, fixed, (made,))
        found = {
            "fooling": FOOLING * fooling(logits),
            "matching": MATCHING * matching(features, real_features),
            "discriminator": telling_apart(real_logits, judge(made.detach())[0]),
        }
        if penalised:
            found["penalty"] = gradient_penalty(real_logits, real)
        self.augmentation.learn(real_logits.detach())
        return found
