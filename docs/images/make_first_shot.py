"""Takes the pictures of docs/first_shot.md: `python docs/images/make_first_shot.py /path/to/blender [ACTOR] [FOLDER]`.

A real window on a virtual screen, driven by tests/blender/inside/first_shot.py: each step by the extension's own
operators, photographed, and the frame that is rendered in the end.
"""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path

from PIL import Image

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "tests" / "blender")]

import blenders  # noqa: E402
import windows  # noqa: E402

STEPS = ("install", "load", "motion", "live", "compositing")
COLOURS = 128  # of a photograph, which is mostly grey
ACTOR = ROOT / "blend_templates" / "actors" / "robin.actor"


def main(program: str, actor: str = str(ACTOR), output: str = str(ROOT / "docs" / "images")) -> None:
    if windows.missing():
        raise SystemExit(f"error: install {', '.join(windows.missing())} first")
    windows.WIDTH, windows.HEIGHT = 1200, 1000
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as temporary:
        folder = Path(temporary)
        studio = blenders.prepared(program, Path(actor), folder)
        with windows.window(studio, "first_shot") as window:
            for step in STEPS:
                window.wait_for(step)
                time.sleep(1)
                store(window.photograph(folder / f"{step}.png"), Path(output) / f"first_shot_{step}.png")
                (folder / f"{step}.taken").touch()
            window.wait_for("rendered")
            store(folder / "rendered.png", Path(output) / "first_shot_rendered.png", None)


def store(photograph: Path, target: Path, colours: int | None = COLOURS) -> None:
    picture = Image.open(photograph).convert("RGB")
    (picture if colours is None else picture.quantize(colours)).save(target, optimize=True)
    print(target, f"{target.stat().st_size:,} bytes", flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
