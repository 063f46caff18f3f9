"""The options of a training run: one YAML file, read strictly."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from avatar_core.config import ConfigError, read_options, read_yaml


@dataclass(frozen=True)
class TrainOptions:
    """Everything that a run depends on. Relative paths count from the current folder."""

    name: str
    """of the actor; the run writes OUTPUT/NAME.actor"""
    capture: str
    """folder of the capture"""
    method: str
    output: str
    """folder of the run: checkpoint, TensorBoard files, actor"""
    config: dict[str, Any] = field(default_factory=dict)
    """options of the method"""
    steps: int = 8000
    minutes: float = math.inf
    """the run ends after so much training even if steps are left, with the learning rate as low as at the last step"""
    pictures: int = 4
    """pictures in a step"""
    pixels: int = 512
    """pixels of each picture"""
    subpixels: int = 2
    """rays of a pixel, a side: a captured pixel is the mean over its square, not what stands at its centre"""
    refine_poses: bool = False
    """whether the poses of training frames are corrected: for tracked captures, whose poses are a little wrong"""
    perceptual: str = ""
    """file with torchvision's vgg16 weights: half of the pictures of a step become squares of about `pixels` pixels,
    which are compared by that network's features as well"""
    perceptual_weight: float = 0.02
    stage: str = ""
    """of methods that are trained in stages: which one"""
    start: str = ""
    """folder of the run of another stage whose weights this one starts with"""
    recolour: float = 0.0
    """of people: how often their colours are changed, alike in both views, so that few people teach many appearances"""
    learn_people: bool = False
    """of people: whether each has an appearance of their own that is learnt and that the encoder learns to read; a few
    people then look like themselves much sooner, and others less"""
    rate: float = 1.0
    """times the learning rates of the method; more than 1 suits runs that are much shorter than published ones"""
    final_rate: float = 0.03
    """share of the learning rate that is left at the end"""
    device: str = "cpu"
    """cpu, cuda, or auto: a GPU where there is one"""
    seed: int = 1
    log_every: int = 50
    checkpoint_every: int = 500
    picture_every: int = 1000
    evaluate_pictures: int = 24
    """pictures of each held-out set that the final evaluation renders, 0 for no evaluation"""
    test_start: int = 0
    """of a tracked head: the first frame that is held out, which may count from the end; 0: the last 500 or tenth"""
    licence: str = "unknown"
    """of the actor"""


def read_train_options(path: Path) -> TrainOptions:
    """Raises ConfigError that names the file, the option and the nearest known name."""
    options = read_options(TrainOptions, read_yaml(path), str(path))
    for name in ("steps", "pictures", "pixels", "subpixels", "log_every", "checkpoint_every", "picture_every"):
        if getattr(options, name) < 1:
            raise ConfigError(f"{path}: option '{name}' must be at least 1")
    if not 0 < options.rate <= 1000:
        raise ConfigError(f"{path}: option 'rate' must be positive, up to 1000")
    if not 0 <= options.recolour <= 1:
        raise ConfigError(f"{path}: option 'recolour' must be from 0 to 1")
    if not 0 < options.perceptual_weight < math.inf:
        raise ConfigError(f"{path}: option 'perceptual_weight' must be positive")
    if options.evaluate_pictures < 0:
        raise ConfigError(f"{path}: option 'evaluate_pictures' must not be negative")
    if not options.minutes > 0:
        raise ConfigError(f"{path}: option 'minutes' must be positive")
    return options
