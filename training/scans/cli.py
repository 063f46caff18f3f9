"""`avatar scans`: people who never were, scanned."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from pathlib import Path

from avatar_core.data.obj import ScanError


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("--output", type=Path, required=True, help="folder, in THuman2.0's layout")
    parser.add_argument("--count", type=int, default=6, help="people (default 6)")
    parser.add_argument("--cell", type=float, default=0.008, help="metres between vertices (default 0.008)")
    parser.add_argument("--seed", type=int, default=0, help="the same people for the same number (default 0)")


def run(arguments: Namespace) -> int:
    from .people import write_scans

    if not (1 <= arguments.count <= 10_000 and 0.004 <= arguments.cell <= 0.03 and arguments.seed >= 0):
        raise ScanError("--count must be 1 to 10000, --cell 0.004 to 0.03 and --seed not negative")
    write_scans(arguments.output, arguments.count, arguments.cell, arguments.seed)
    print(f"{arguments.output}: {arguments.count} scans")
    return 0
