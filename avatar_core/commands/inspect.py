"""`avatar inspect ACTOR`: the header of an .actor file, without loading torch."""

from __future__ import annotations

import json
from argparse import ArgumentParser, Namespace
from pathlib import Path

from ..actor_file import read_header


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("actor", type=Path, help="the .actor file")


def run(arguments: Namespace) -> int:
    header = read_header(arguments.actor)
    print(json.dumps(header.document, indent=1))
    print(f"{arguments.actor.stat().st_size / 1e6:.2f} MB in {len(header.shapes)} tensors")
    return 0
