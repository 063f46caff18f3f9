"""Draws docs/images/head_in_blender.png: a head alone with alpha, a body, and the head on the body, in a set.

python tests/blender/make_head.py /path/to/blender HEAD.actor BODY.actor [FOLDER]

The program may be a Python that has the module bpy.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
from pathlib import Path

import blenders
import numpy as np
from PIL import Image, ImageDraw

SQUARES = 24  # pixels a side, behind what is transparent
NAMES = {"alone": "alone, with alpha", "body": "a body", "on_body": "the head on it"}


def main(program: str, head: str, body: str, output: str = str(blenders.ROOT / "docs" / "images")) -> None:
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as temporary:
        folder = Path(temporary)
        studio = blenders.prepared(program, Path(body), folder)
        inside = shutil.copy(head, studio.folder / "head.actor")
        done = studio.script("head_picture", str(inside), str(studio.actor), str(studio.folder))
        if done.returncode:
            raise SystemExit(done.stdout + done.stderr)
        pictures = [Image.open(studio.folder / f"{name}_0001.png").convert("RGBA") for name in NAMES]
    side = pictures[0].width
    y, x = np.mgrid[0:side, 0 : side * len(pictures)] // SQUARES
    squares = np.where((x + y) % 2, 200, 240).astype(np.uint8)
    sheet = Image.fromarray(squares).convert("RGBA")
    draw = ImageDraw.Draw(sheet)
    for number, (name, picture) in enumerate(zip(NAMES.values(), pictures, strict=True)):
        sheet.alpha_composite(picture, (number * side, 0))
        draw.text((number * side + 8, 6), name, fill="black", stroke_width=2, stroke_fill="white")
    sheet.convert("RGB").save(Path(output) / "head_in_blender.png", optimize=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
