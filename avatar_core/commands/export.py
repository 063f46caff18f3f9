"""`avatar export ACTOR`: the surface of an actor as a mesh, for any frame of a shot."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from pathlib import Path

from ..actor import Actor
from ..device import choose
from ..errors import AvatarError
from ..mesh_file import write_ply
from .render import add_shot_arguments, chosen_frames, read_shot_arguments


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("actor", type=Path, help="the .actor file")
    add_shot_arguments(parser)
    parser.add_argument("--detail", type=int, default=2, choices=range(1, 9), metavar="1-8", help="default 2: 5 mm")
    parser.add_argument("--mesh", type=Path, required=True, metavar="FILE.ply", help="# stands for the frame's number")


def run(arguments: Namespace) -> int:
    actor = Actor.load(arguments.actor, choose(arguments.device))
    shot = read_shot_arguments(arguments, actor)
    first, last = chosen_frames(arguments, shot)
    name = arguments.mesh.name
    if last > first and "#" not in name:
        raise AvatarError(f"{last - first + 1} frames need a file each: put # into the name, such as body_####.ply")
    arguments.mesh.parent.mkdir(parents=True, exist_ok=True)
    for number in range(first, last + 1):
        mesh = actor.surface(shot.frame(number - 1)[1], arguments.detail)
        hashes = name.count("#")
        path = arguments.mesh.with_name(name.replace("#" * hashes, f"{number:0{hashes}d}") if hashes else name)
        write_ply(path, mesh)
        print(f"{path}: {len(mesh.vertices)} vertices, {len(mesh.faces)} triangles")
    return 0
