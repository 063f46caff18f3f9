"""Blender's real window on a virtual screen. Needs Xvfb, xdotool and ImageMagick's `import`: Blender's own screenshot
operator gives black without a real screen, and only a real key stops a render."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import blenders

WIDTH, HEIGHT = 1280, 800
PATIENCE = 180  # seconds for a window to do its work
LOG = "window.log"
NEEDED = ("Xvfb", "import", "xdotool")


@dataclass(frozen=True)
class Window:
    """A Blender that runs inside/SCRIPT.py, which tells how far it is by files in the studio's folder."""

    process: subprocess.Popen[bytes]
    folder: Path
    environment: dict[str, str]

    def wait_for(self, name: str) -> str:
        """The text of the file `name`, once the script has written it."""
        deadline = time.monotonic() + PATIENCE
        while not (self.folder / name).exists():
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"no file {name}: {(self.folder / LOG).read_text()[-3000:]}")
            time.sleep(0.1)
        return (self.folder / name).read_text()

    def photograph(self, output: Path) -> Path:
        subprocess.run(["import", "-window", "root", str(output)], check=True, env=self.environment)
        return output

    def press(self, key: str) -> None:
        """A key of the keyboard, in Blender's window."""
        find = ["search", "--onlyvisible", "--class", "blender", "windowfocus"]
        pointer = ["mousemove", str(WIDTH // 3), str(HEIGHT // 2)]
        subprocess.run(["xdotool", *find, *pointer, "key", key], check=True, env=self.environment)

    def drag(self, start: Sequence[int], end: Sequence[int]) -> None:
        """With the left button held, in steps, as a hand does; pixels from the screen's top left."""
        steps = [[round(a + (b - a) * share / 10) for a, b in zip(start, end)] for share in range(11)]
        orders = ["mousemove", *map(str, start), "sleep", "0.5", "mousedown", "1", "sleep", "0.5"]
        for x, y in steps:
            orders += ["mousemove", str(x), str(y), "sleep", "0.1"]
        orders += ["sleep", "0.5", "mouseup", "1"]
        subprocess.run(["xdotool", *orders], check=True, env=self.environment)


def missing() -> list[str]:
    return [program for program in NEEDED if shutil.which(program) is None]


@contextmanager
def window(studio: blenders.Studio, script: str, *arguments: str) -> Iterator[Window]:
    """Starts Blender with inside/`script`.py; its files are written whole by `tell` of that script."""
    read, write = os.pipe()
    screen = subprocess.Popen(
        ["Xvfb", "-displayfd", str(write), "-screen", "0", f"{WIDTH}x{HEIGHT}x24", "-nolisten", "tcp"],
        pass_fds=[write],
        stderr=subprocess.DEVNULL,
    )
    os.close(write)
    try:
        with os.fdopen(read) as answer:
            display = f":{answer.readline().strip()}"
        environment = {
            **os.environ,
            "DISPLAY": display,
            "LIBGL_ALWAYS_SOFTWARE": "1",
            "BLENDER_USER_RESOURCES": str(studio.folder / "home"),
            "AVATAR_WORKER": studio.worker(),
        }
        command = [studio.blender.program, "--window-geometry", "0", "0", str(WIDTH), str(HEIGHT)]
        command += ["-P", str(studio.folder / "inside" / f"{script}.py"), "--", str(studio.actor), *arguments]
        with (studio.folder / LOG).open("w") as log:
            process = subprocess.Popen(command, cwd=studio.folder, env=environment, stdout=log, stderr=log)
        try:
            yield Window(process, studio.folder, environment)
        finally:
            process.kill()
            process.wait()
    finally:
        screen.terminate()
        screen.wait()
