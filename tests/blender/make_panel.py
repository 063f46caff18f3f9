"""Photographs the sidebar tab Avatar in a real Blender window on a virtual screen: docs/images/panel.png.

    python tests/blender/make_panel.py /path/to/blender ACTOR [OUTPUT]

Needs Xvfb and ImageMagick's `import`: without a real screen Blender's own screenshot operator gives black.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import blenders

sys.path.insert(0, str(blenders.ROOT))

import build_addon

DISPLAY = ":97"
SIZE = "1280x800x24"
PATIENCE = 120  # seconds


def main(program: str, actor: str, output: str = str(blenders.ROOT / "docs" / "images" / "panel.png")) -> None:
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        found = blenders.probe(program, folder)
        if isinstance(found, str):
            raise SystemExit(f"error: {found}")
        studio = blenders.equip(found, build_addon.build(folder / "package"), Path(actor), folder)
        screen = subprocess.Popen(["Xvfb", DISPLAY, "-screen", "0", SIZE])
        try:
            time.sleep(1)
            photograph(studio, Path(output))
        finally:
            screen.terminate()


def photograph(studio: blenders.Studio, output: Path) -> None:
    ready = studio.folder / "ready"
    script = studio.folder / "inside" / "panel_window.py"
    command = [studio.blender.program, "--window-geometry", "0", "0", *SIZE.split("x")[:2], "-P", str(script)]
    environment = {
        **os.environ,
        "DISPLAY": DISPLAY,
        "LIBGL_ALWAYS_SOFTWARE": "1",
        "BLENDER_USER_RESOURCES": str(studio.folder / "home"),
        "AVATAR_WORKER": studio.worker(),
    }
    blender = subprocess.Popen([*command, "--", str(studio.actor), str(ready)], cwd=studio.folder, env=environment)
    try:
        deadline = time.monotonic() + PATIENCE
        while not ready.exists():
            if blender.poll() is not None or time.monotonic() > deadline:
                raise SystemExit("error: Blender's window did not come up")
            time.sleep(0.5)
        time.sleep(2)
        taken = ["import", "-display", DISPLAY, "-window", "root", str(output)]
        subprocess.run(taken, check=True)
    finally:
        blender.terminate()
        blender.wait(20)


if __name__ == "__main__":
    main(*sys.argv[1:])
