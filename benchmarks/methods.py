"""Our configuration beside the published one: `python benchmarks/methods.py CAPTURE [--minutes 5]`.

Both methods train on one capture for the same time, one after the other, then render the same held-out cameras: PSNR
in the box of the mask (held-out poses, and training poses), seconds a frame turn by turn, size of the actor file, and
the peak of memory of `avatar render` for one frame. The published one is given its texture maps (`avatar textures`).
Bars: the PSNR of ours is higher, and its frames are made 20 times faster.
Writes benchmarks/results/methods_cpu.json.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from avatar_core.actor import Actor  # noqa: E402
from avatar_core.data.capture import Capture  # noqa: E402
from training.evaluate import evaluate  # noqa: E402
from training.options import TrainOptions  # noqa: E402
from training.trainer import Trainer  # noqa: E402

RESULT = ROOT / "benchmarks" / "results" / "methods_cpu.json"
FASTER = 20.0
ENDLESS = 1_000_000  # steps
QUALITY = "preview"  # one ray a pixel


@dataclass(frozen=True)
class Pair:
    """Two configurations of one system; options as in a training file."""

    ours: str
    ours_options: dict[str, Any]
    published: str
    published_options: dict[str, Any]


PAIRS = {
    "neural_actor": Pair(
        "neural_actor",
        {"pixels": 256, "config": {"levels": 12, "finest_resolution": 640, "reach_out": 0.055, "reach_in": 0.015}},
        "neural_actor_paper",
        {"pictures": 1, "pixels": 1024, "subpixels": 1, "config": {"texture_size": 256, "textures": 8}},
    )
}


def train(method: str, options: dict[str, Any], capture: Path, minutes: float, folder: Path) -> tuple[Path, int]:
    """The actor's file and the steps that fitted into the time."""
    fixed = TrainOptions(method, str(capture), method, str(folder / method), steps=ENDLESS, minutes=minutes)
    trainer = Trainer(TrainOptions(**{**vars(fixed), **options}))
    while trainer.progress < 1:
        losses = trainer.train_step()
        if trainer.step % 20 == 0:
            print(
                f"\r{method}: {trainer.seconds:.0f} s, step {trainer.step}, {losses['colour']:.5f}", end="", flush=True
            )
    print()
    path = folder / f"{method}.actor"
    trainer.actor({}).save(path)
    return path, trainer.step


def frame_seconds(actors: dict[str, Actor], capture: Capture, repeat: int) -> dict[str, float]:
    """Medians of `repeat` frames of held-out poses, turn by turn."""
    camera = next(view.camera for view in capture.cameras if view.split == "test")
    poses = [frame.controls for frame in capture.frames if frame.split == "test"]
    times: dict[str, list[float]] = {name: [] for name in actors}
    for turn in range(repeat):
        for name, actor in actors.items():
            start = time.perf_counter()
            actor.render(poses[turn % len(poses)], camera, QUALITY)
            times[name].append(time.perf_counter() - start)
    return {name: round(statistics.median(values), 3) for name, values in times.items()}


def peak_memory(path: Path, capture: Capture) -> int:
    """MB that `avatar render` of one frame needs at most."""
    command = [sys.executable, "-m", "avatar_core.cli", "render", str(path), "--capture", str(capture.folder)]
    process = subprocess.Popen([*command, "--frames", "1", "--output", str(path.parent)], stderr=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        raise RuntimeError(f"{' '.join(command)} failed")
    return round(usage.ru_maxrss / 1024)


def compare(pair: Pair, capture: Capture, minutes: float, pictures: int, repeat: int) -> dict[str, Any]:
    rows: dict[str, dict[str, Any]] = {}
    with tempfile.TemporaryDirectory() as folder:
        actors = {}
        both = ((pair.ours, pair.ours_options), (pair.published, pair.published_options))
        for method, options in both:
            path, steps = train(method, options, capture.folder, minutes, Path(folder))
            actors[method] = Actor.load(path)
            rows[method] = {"steps": steps, "actor_mb": round(path.stat().st_size / 1e6, 2)}
            rows[method]["peak_mb"] = peak_memory(path, capture)
        for method, seconds in frame_seconds(actors, capture, repeat).items():
            rows[method]["seconds_a_frame"] = seconds
        for method, actor in actors.items():
            rows[method] |= {
                name: {"box_psnr": round(row["box_psnr"], 2), "mask_iou": round(row["mask_iou"], 3)}
                for name, row in evaluate(actor, capture, pictures, QUALITY).sets.items()
            }
    ours, published = rows[pair.ours], rows[pair.published]
    faster = published["seconds_a_frame"] / ours["seconds_a_frame"]
    better = ours["novel_pose"]["box_psnr"] - published["novel_pose"]["box_psnr"]
    return {
        **rows,
        "times_faster": round(faster, 1),
        "db_better_on_held_out_poses": round(better, 2),
        "bars_met": bool(faster >= FASTER and better > 0),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("capture", type=Path, help="folder that 'avatar capture' and 'avatar textures' wrote")
    parser.add_argument("--minutes", type=float, default=5.0, help="of training, each (default 5)")
    parser.add_argument("--pictures", type=int, default=4, help="of each held-out set (default 4)")
    parser.add_argument("--repeat", type=int, default=3, help="frames that are timed (default 3)")
    options = parser.parse_args()
    capture = Capture.open(options.capture)
    camera = capture.cameras[0].camera
    found = {
        name: compare(pair, capture, options.minutes, options.pictures, options.repeat) for name, pair in PAIRS.items()
    }
    result = {
        "command": f"python benchmarks/methods.py CAPTURE --minutes {options.minutes:g}",
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, torch {torch.__version__}",
        "load": [round(value, 1) for value in os.getloadavg()],
        "capture": f"{len(capture.cameras)} cameras x {len(capture.frames)} poses, {camera.width} x {camera.height}",
        "minutes": options.minutes,
        "quality": QUALITY,
        "bars": {"times_faster": FASTER, "db_better_on_held_out_poses": 0.0},
        **found,
    }
    print(json.dumps(result, indent=1))
    RESULT.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
