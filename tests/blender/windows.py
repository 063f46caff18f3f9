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
        self.focus()
        self.mouse("mousemove", WIDTH // 3, HEIGHT // 2, "key", key)

    def focus(self) -> None:
        """Has keys go to Blender's window; while a button of the mouse is held it is too late."""
        self.mouse("search", "--onlyvisible", "--class", "blender", "windowfocus")

    def drag(self, start: Sequence[int], end: Sequence[int]) -> None:
        """With the left button held; pixels from the screen's top left."""
        self.hold(start, end)
        self.mouse("mouseup", 1)

    def hold(self, start: Sequence[int], end: Sequence[int]) -> None:
        """A drag that is not let go."""
        self.point(start)
        self.mouse("mousedown", 1, "sleep", 0.5)
        self.move(start, end)

    def point(self, place: Sequence[int]) -> None:
        """Comes from beside it."""
        self.move((place[0], place[1] + 20), place)

    def move(self, start: Sequence[int], end: Sequence[int]) -> None:
        """In steps, as a hand does it."""
        orders: list[object] = []
        for share in range(11):
            orders += ["mousemove", *(round(a + (b - a) * share / 10) for a, b in zip(start, end)), "sleep", 0.1]
        self.mouse(*orders, "sleep", 0.5)

    def mouse(self, *orders: object) -> None:
        """As xdotool wants them."""
        subprocess.run(["xdotool", *map(str, orders)], check=True, env=self.environment)


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
