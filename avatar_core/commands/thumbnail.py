"""`avatar thumbnail ACTOR…`: gives actors the small picture of themselves that libraries show."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from pathlib import Path

from .. import actor_file
from ..actor import Actor
from ..device import choose
from ..frame import to_png8
from ..shots import rest_shot

SIDE = 256  # pixels, as trained actors have


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("actors", type=Path, nargs="+", metavar="ACTOR", help="the .actor files, which are rewritten")
    parser.add_argument("--device", default="cpu", help="auto, cpu, cuda, … (default cpu)")


def run(arguments: Namespace) -> int:
    for path in arguments.actors:
        actor = Actor.load(path, choose(arguments.device))
        camera, controls = rest_shot(actor, (SIDE, SIDE)).frame(0)
        picture = to_png8(actor.render(controls, camera, "final"))
        document, tensors = actor_file.read_header(path).document, actor_file.read_tensors(path)
        actor_file.write(path, document, {**tensors, "preview": picture})
        print(f"{path} shows itself in {SIDE} x {SIDE} pixels")
    return 0
