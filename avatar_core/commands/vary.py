"""`avatar vary ACTOR`: a shot of people that an actor's latents and betas make, for `avatar render --shot`.

Latents are in standard deviations around a mean, so that independent normal numbers are people.
"""

from __future__ import annotations

import json
import os
from argparse import ArgumentParser, Namespace
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from ..actor import Actor
from ..controls import Controls, ControlSchema
from ..errors import AvatarError
from ..shots import Shot, motion_shot, rest_shot

_SIDE = 10  # frames from one person to the next
_BETA = 2.0  # standard deviations that the first beta goes to either side
_SIZE = 512, 512
_COUNT, _MOST = 200, 100_000  # frames


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("actor", type=Path, help="the .actor file")
    parser.add_argument(
        "--what",
        default="sample",
        metavar="sample|blend|betas|LATENT",
        help="sample: a new person a frame; blend: all latents from person to person; betas, or a latent's name: "
        "only that (default sample)",
    )
    add_count(parser)
    parser.add_argument("--motion", help="poses, repeated when they end: a name or file, as of 'avatar render'")
    parser.add_argument("--output", type=Path, required=True, metavar="SHOT.json")


def add_count(parser: ArgumentParser) -> None:
    parser.add_argument("--count", type=int, help="frames (default 200, of betas 40)")
    parser.add_argument("--seed", type=int, default=42, help="the same people for the same number (default 42)")


def run(arguments: Namespace) -> int:
    actor = Actor.load(arguments.actor)
    poses = motion_shot(actor, arguments.motion, _SIZE) if arguments.motion else rest_shot(actor, _SIZE)
    shot = varied(actor, poses, arguments.what, arguments.count, arguments.seed)
    frames = shot.frames
    data = {"camera": shot.cameras[0].to_dict(), "frames": [frame.to_dict() for frame in frames]}
    temporary = arguments.output.with_name(arguments.output.name + ".part")
    try:
        temporary.write_text(json.dumps(data), encoding="utf-8")
        os.replace(temporary, arguments.output)
    except OSError as error:
        raise AvatarError(f"{arguments.output} cannot be written: {error.strerror or error}") from error
    print(f"wrote {arguments.output}: {len(frames)} frames")
    return 0


def varied(actor: Actor, poses: Shot, what: str, count: int | None, seed: int) -> Shot:
    """`count` frames (None: as many as published) of people in the poses of a shot, which begin again where they end,
    from its first camera. Raises AvatarError."""
    count = (4 * _SIDE if what == "betas" else _COUNT) if count is None else count
    if not (0 < count <= _MOST and seed >= 0):
        raise AvatarError(f"--count must be 1 to {_MOST} and --seed not negative")
    if 1 < len(poses.frames) < count:
        print(f"the motion has {len(poses.frames)} frames for {count}: it begins again")
    return Shot(poses.cameras[:1], tuple(vary(actor.schema, what, count, seed, poses.frames)))


def vary(schema: ControlSchema, what: str, count: int, seed: int, poses: Sequence[Controls]) -> list[Controls]:
    """Controls of `count` frames; poses are repeated. Raises AvatarError for what the actor does not have."""
    chosen = list(schema.latents) if what in ("sample", "blend") else [what] if what in schema.latents else []
    if not chosen and not (what == "betas" and schema.betas):
        known = ", ".join(["sample", "blend", *schema.latents] * bool(schema.latents) + ["betas"] * bool(schema.betas))
        raise AvatarError(f"this actor cannot vary '{what}'; it can vary {known or 'nothing'}")
    random = np.random.default_rng(seed)
    people = count if what == "sample" else -(-count // _SIDE) + 1
    codes = {name: random.standard_normal((people, schema.latents[name])).astype(np.float32) for name in chosen}
    frames = []
    for number in range(count):
        first, share = (number, 0.0) if what == "sample" else (number // _SIDE, number % _SIDE / _SIDE)
        after = min(first + 1, people - 1)
        latents = {name: (1 - share) * code[first] + share * code[after] for name, code in codes.items()}
        frame = replace(poses[number % len(poses)], latents=latents)
        if what == "betas":
            betas = np.zeros(schema.betas, np.float32)
            betas[0] = np.interp(number % (4 * _SIDE), np.arange(5) * _SIDE, [0, -_BETA, 0, _BETA, 0])
            frame = replace(frame, betas=betas)
        frames.append(frame)
    return frames
