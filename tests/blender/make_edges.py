"""Draws docs/images/edges.png: bars before an avatar, merged by depths alone, as the extension merges, and as it is.

python tests/blender/make_edges.py /path/to/blender [FOLDER]

The program may be a Python that has the module bpy. Prints the mean errors at those edges.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import blenders
import numpy as np
from PIL import Image, ImageDraw

ACTOR = blenders.ROOT / "blend_templates" / "actors" / "robin.actor"
PART = (slice(40, 180), slice(50, 150))  # rows and columns that are shown
SCALE = 4
NAMES = {"compared": "depths compared", "made": "the merge", "truth": "all in Cycles"}


def main(program: str, output: str = str(blenders.ROOT / "docs" / "images")) -> None:
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as temporary:
        folder = Path(temporary)
        studio = blenders.prepared(program, ACTOR, folder)
        done = studio.script("edges_picture", str(studio.actor), str(studio.folder))
        if done.returncode:
            raise SystemExit(done.stdout + done.stderr)
        with np.load(studio.folder / "edges.npz") as stored:
            pictures = {name: stored[name] for name in NAMES}
    truth = pictures["truth"]
    edge = np.abs(pictures["compared"] - truth).max(-1) > 0.02
    for name in ("compared", "made"):
        print(f"{NAMES[name]}: mean error {np.abs(pictures[name] - truth)[edge].mean():.4f} in {edge.sum()} pixels")
    sheet = Image.new("RGB", (len(NAMES) * 100 * SCALE, 140 * SCALE))
    draw = ImageDraw.Draw(sheet)
    for number, (name, title) in enumerate(NAMES.items()):
        part = Image.fromarray(_display(pictures[name][PART][..., :3]))
        sheet.paste(part.resize((100 * SCALE, 140 * SCALE), Image.Resampling.NEAREST), (number * 100 * SCALE, 0))
        draw.text((number * 100 * SCALE + 8, 6), title, fill="black", stroke_width=2, stroke_fill="white")
    sheet.save(Path(output) / "edges.png", optimize=True)


def _display(light: np.ndarray) -> np.ndarray:
    """Scene-linear to sRGB, 8 bits."""
    light = np.clip(light, 0, 1)
    return np.uint8(255 * np.where(light <= 0.0031308, 12.92 * light, 1.055 * light ** (1 / 2.4) - 0.055) + 0.5)


if __name__ == "__main__":
    main(*sys.argv[1:])
