"""`blender -b shot.blend -a` with two avatars, its worker killed at random moments: every frame must come out right.

    python tests/blender/long_run.py /path/to/blender [FRAMES] [KILLS]

Renders the shot twice, once in peace, and compares the pictures bit for bit.
"""

from __future__ import annotations

import os
import random
import shlex
import signal
import sys
import tempfile
import threading
import time
from dataclasses import dataclass
from pathlib import Path

import blenders
import numpy as np
import OpenEXR

SEED = 7
LATEST = 0.3  # seconds into a frame at which a worker is killed
PATIENCE = 4 * 3600  # seconds for a Blender


@dataclass(frozen=True)
class Outcome:
    frames: int  # that are there and the same as in peace
    kills: int
    seconds: float
    peaceful_seconds: float


def run(studio: blenders.Studio, frames: int, kills: int) -> Outcome:
    """Raises AssertionError where a frame is missing, wrong, or the same as the one before it."""
    done = studio.script("long_shot", str(studio.actor), str(studio.folder), str(frames))
    assert done.returncode == 0, done.stdout + done.stderr
    peaceful = _animate(studio, "peace_", studio.worker())
    number = studio.folder / "worker.pid"
    script = f"echo $$ > {shlex.quote(str(number))}; exec {_without_prefix(studio)}"
    killer = _Killer(studio.folder, number, sorted(random.Random(SEED).sample(range(2, frames + 1), kills)))
    killer.start()
    killed = _animate(studio, "killed_", shlex.join([*studio.blender.prefix, "sh", "-c", script]))
    killer.join()
    before = None
    for frame in range(1, frames + 1):
        wanted, found = (_pixels(studio.folder / f"{prefix}{frame:04d}.exr") for prefix in ("peace_", "killed_"))
        np.testing.assert_array_equal(found, wanted, f"frame {frame}")
        assert before is None or not np.array_equal(before, wanted), f"frame {frame} shows the one before it"
        before = wanted
    return Outcome(frames, killer.done, round(killed, 1), round(peaceful, 1))


class _Killer(threading.Thread):
    """Ends the worker somewhere in each of the chosen frames."""

    def __init__(self, folder: Path, number: Path, frames: list[int]) -> None:
        super().__init__(daemon=True)
        self.done = 0
        self._folder, self._number, self._frames = folder, number, frames
        self._random = random.Random(SEED)

    def run(self) -> None:
        for frame in self._frames:
            while not (self._folder / f"killed_{frame - 1:04d}.exr").exists():
                time.sleep(0.005)
            time.sleep(self._random.uniform(0, LATEST))
            os.kill(int(self._number.read_text()), signal.SIGKILL)
            self.done += 1


def _animate(studio: blenders.Studio, prefix: str, worker: str) -> float:
    """Seconds."""
    began = time.monotonic()
    done = studio.animate(studio.folder / "long.blend", prefix, worker)
    assert done.returncode == 0, (done.stdout + done.stderr)[-3000:]
    return time.monotonic() - began


def _without_prefix(studio: blenders.Studio) -> str:
    """The worker's command line as a shell inside of the prefix runs it."""
    return shlex.join(shlex.split(studio.worker())[len(studio.blender.prefix) :])


def _pixels(path: Path) -> np.ndarray:
    """[H, W, 4] float32."""
    with OpenEXR.File(str(path), separate_channels=True) as file:
        found = {name: np.array(data.pixels) for part in file.parts for name, data in part.channels.items()}
    return np.stack([found[name] for name in "RGBA"], -1)


def main(program: str, frames: str = "1000", kills: str = "10") -> None:
    blenders.TIMEOUT = PATIENCE
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as temporary:
        folder = Path(temporary)
        actor = blenders.ROOT / "blend_templates" / "actors" / "robin.actor"
        studio = blenders.prepared(program, actor, folder)
        print(studio.blender.name, run(studio, int(frames), int(kills)), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
