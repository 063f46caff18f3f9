"""`avatar import SYSTEM FILE`: released checkpoints become actors, folders in published layouts captures."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from importlib import import_module

IMPORTERS = {
    "neural_actor": "avatar_core.methods.neural_actor.paper.importer",
    "neural_actor_data": "avatar_core.methods.neural_actor.paper.dataset",
    "human_view_synthesis_data": "avatar_core.data.people.published",
    "easymocap": "avatar_core.data.easymocap",
    "nerf_blendshape": "avatar_core.methods.nerf_blendshape.paper.importer",
    "gdna": "avatar_core.methods.gdna.importer",
    "npva": "avatar_core.methods.npva.importer",
    "human_view_synthesis": "avatar_core.methods.human_view_synthesis.importer",
}


def add_arguments(parser: ArgumentParser) -> None:
    systems = parser.add_subparsers(dest="system", required=True, metavar="SYSTEM")
    for name, module in IMPORTERS.items():
        importer = import_module(module)
        importer.add_arguments(systems.add_parser(name, help=(importer.__doc__ or "").split(":")[0]))


def run(arguments: Namespace) -> int:
    return import_module(IMPORTERS[arguments.system]).run(arguments)
