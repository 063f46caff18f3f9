"""`avatar prepare`: scans with SMPL parameters become a capture for gDNA."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from pathlib import Path

from avatar_core.body import load_body
from avatar_core.data.obj import ScanError


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("data", type=Path, help="folder with THuman2.0_Release and THuman2.0_smpl")
    parser.add_argument("--output", type=Path, required=True, help="folder of the capture; goes on where it stopped")
    parser.add_argument("--body", type=Path, help="your SMPL file (default: the free body, for 'avatar scans')")
    parser.add_argument("--points", type=int, default=100_000, help="of each kind and scan (default 100000)")
    parser.add_argument("--size", type=int, default=256, help="pixels a side of the pictures (default 256)")
    parser.add_argument("--licence", default="unknown", help="of the scans and the body (default unknown)")


def run(arguments: Namespace) -> int:
    from .prepare import prepare

    if not (1000 <= arguments.points <= 10_000_000 and arguments.size in (32, 64, 128, 256, 512)):
        raise ScanError("--points must be 1000 to 10000000 and --size 32, 64, 128, 256 or 512")
    body = load_body(arguments.body)
    made = prepare(arguments.data, body, arguments.output, arguments.points, arguments.size, arguments.licence)
    print(f"{arguments.output}: {len(made.frames)} scans, {'with' if made.textured else 'without'} colours")
    return 0
