"""`avatar …`: one command, a subcommand per job. Each job's module is imported only when it is called."""

from __future__ import annotations

import sys
from argparse import ArgumentParser
from importlib import import_module

from . import __version__
from .errors import AvatarError

COMMANDS = {
    "doctor": ("avatar_core.commands.doctor", "what is installed, what is in use, and what to do about each lack"),
    "demo": (
        "blend_templates.demo.command",
        "make a scene, pose the shipped actor in it and render it in Blender",
    ),
    "capture": ("training.studio.cli", "render a rigged character into training pictures"),
    "textures": ("training.textures", "make texture and normal maps of the body from a capture"),
    "scans": ("training.scans.cli", "make scans of people who never were, in THuman2.0's layout"),
    "prepare": ("training.scans.prepare_cli", "turn scans and SMPL parameters into a capture for gDNA"),
    "prepare-head": ("training.heads.prepare", "make depth, masks and position maps of a Multiface identity for NPVA"),
    "train": ("training.cli", "train an actor from a capture"),
    "fit": ("training.scans.fit_cli", "find a person of gDNA's that looks like a scan or a normal map"),
    "evaluate": ("training.evaluate", "measure an actor on held-out cameras and poses"),
    "render": ("avatar_core.commands.render", "render an actor outside of Blender"),
    "infer": (
        "avatar_core.methods.human_view_synthesis.infer",
        "draw people of a capture from other cameras, or as somebody else",
    ),
    "gaussians": (
        "avatar_core.methods.human_view_synthesis.gaussians",
        "draw Gaussian primitives alone: spheres, ellipsoids, poses",
    ),
    "vary": ("avatar_core.commands.vary", "write a shot of new people: samples, blends, body shapes"),
    "replay-head": ("training.heads.replay", "show recorded frames beside an NPVA head, with the tracked mesh"),
    "worker": ("avatar_core.worker.__main__", "serve a Blender, here or by ssh, over standard input and output"),
    "export": ("avatar_core.commands.export", "write the posed surface of an actor as a mesh"),
    "import": (
        "avatar_core.commands.import_checkpoint",
        "make an actor of a released checkpoint, or a capture of a published folder",
    ),
    "thumbnail": ("avatar_core.commands.thumbnail", "give actors the small picture that the library in Blender shows"),
    "inspect": ("avatar_core.commands.inspect", "print what an .actor file says of itself"),
}


def main(arguments: list[str] | None = None) -> int:
    """Exit codes: 0 done, 1 the job failed, 2 bad input, 130 interrupted."""
    given = sys.argv[1:] if arguments is None else arguments
    parser = ArgumentParser(prog="avatar", description="Neural human avatars.")
    parser.add_argument("--version", action="version", version=f"avatar-core {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    chosen = next((word for word in given if word in COMMANDS), None)
    for name, (module, summary) in COMMANDS.items():
        command = commands.add_parser(name, help=summary, description=summary[0].upper() + summary[1:] + ".")
        if name == chosen:
            import_module(module).add_arguments(command)
    options = parser.parse_args(given)
    try:
        return import_module(COMMANDS[options.command][0]).run(options)
    except AvatarError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130


if __name__ == "__main__":
    sys.exit(main())
