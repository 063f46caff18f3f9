"""`avatar train CONFIG`."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from dataclasses import replace
from pathlib import Path

from .options import read_train_options


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("config", type=Path, help="YAML file, such as training/configs/demo.yaml")
    parser.add_argument("--capture", help="folder of the capture, instead of the config's")
    parser.add_argument("--output", help="folder of the run, instead of the config's")
    parser.add_argument("--steps", type=int, help="steps, instead of the config's")


def run(arguments: Namespace) -> int:
    from .heads.trainer import HeadTrainer, is_identity
    from .people.trainer import PeopleTrainer, is_people
    from .trainer import Trainer

    given = {name: getattr(arguments, name) for name in ("capture", "output", "steps")}
    options = replace(
        read_train_options(arguments.config),
        **{name: value for name, value in given.items() if value is not None},
    )
    kinds = {PeopleTrainer: is_people, HeadTrainer: is_identity}
    trainer = next((kind for kind, fits in kinds.items() if fits(options.capture)), Trainer)(options)
    if trainer.step:
        print(f"going on at step {trainer.step} of {options.steps}")
    path = trainer.run()
    if trainer.writes:
        print(f"wrote {path} ({path.stat().st_size / 1e6:.1f} MB)")
    return 0
