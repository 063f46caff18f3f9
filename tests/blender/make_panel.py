"""Photographs Blender's window with the extension at work: panel.png, viewport.png and library.png in docs/images.

python tests/blender/make_panel.py /path/to/blender ACTOR [FOLDER]
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from pathlib import Path

import blenders
import windows


def main(program: str, actor: str, output: str = str(blenders.ROOT / "docs" / "images")) -> None:
    if windows.missing():
        raise SystemExit(f"error: install {', '.join(windows.missing())} first")
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as temporary:
        folder = Path(temporary)
        studio = blenders.prepared(program, Path(actor), folder)
        with windows.window(studio, "panel_window") as window:
            for name in ("panel", "viewport"):
                window.wait_for(name)
                time.sleep(2)
                window.photograph(Path(output) / f"{name}.png")
                (folder / f"{name}.taken").touch()
        with windows.window(studio, "drag_window") as window:
            places = json.loads(window.wait_for("shown"))
            window.hold(places["picture"], places["ends"][0])
            time.sleep(2)
            window.photograph(Path(output) / "library.png")


if __name__ == "__main__":
    main(*sys.argv[1:])
