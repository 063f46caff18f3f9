"""How soon Blender's 3D view shows a new pose, and whether a long scrub drops any or leaks:
`python benchmarks/viewport.py BLENDER [ACTOR] [--poses 25]`.

A real window on a virtual screen (Xvfb, drawn by the processor). From the change of a bone to the first, coarse
picture of this pose on the screen; the posed body is drawn at once meanwhile. The bar is 150 ms for a small region.
Writes benchmarks/results/viewport.json.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests" / "blender")]

import blenders  # noqa: E402
import windows  # noqa: E402

RESULT = ROOT / "benchmarks" / "results" / "viewport.json"
ACTOR = ROOT / "blend_templates" / "actors" / "robin.actor"
SIZES = ((640, 480), (1280, 800))  # of Blender's window
BAR = 0.15  # seconds
LEAK = 50  # MB
PATIENCE = 1800  # seconds for a window to do its work
FRAMES = 200  # of the timeline that is scrubbed


def measure(program: str, actor: Path, size: tuple[int, int], poses: int) -> dict[str, object]:
    windows.WIDTH, windows.HEIGHT = size
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as temporary:
        studio = blenders.prepared(program, actor, Path(temporary))
        with windows.window(studio, "latency_window", str(poses)) as window:
            told = json.loads(window.wait_for("latency"))
    seconds = sorted(told["seconds"])
    return {
        "blender": told["blender"],
        "region": told["region"],
        "share_of_a_side": round(statistics.median(told["shares"]), 3),
        "median_seconds": round(statistics.median(seconds), 3),
        "slowest_of_ten_seconds": round(seconds[int(len(seconds) * 0.9)], 3),
    }


def scrub(program: str, actor: Path) -> dict[str, object]:
    """Goes through FRAMES frames; every one's own pose must come to be seen."""
    windows.WIDTH, windows.HEIGHT = SIZES[-1]
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as temporary:
        studio = blenders.prepared(program, actor, Path(temporary))
        with windows.window(studio, "live_window", str(FRAMES)) as window:
            window.wait_for("first")
            (studio.folder / "first.taken").touch()
            told = json.loads(window.wait_for("scrub"))
    turned = sum(abs(after) > abs(before) for before, after in zip(told["angles"], told["angles"][1:]))
    memory = told["memory"]
    return {
        "frames": FRAMES,
        "dropped": FRAMES - 1 - turned,
        "memory_growth_mb": round(memory[-1] - memory[FRAMES // 10], 1),
        "bar_mb": LEAK,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("blender")
    parser.add_argument("actor", nargs="?", type=Path, default=ACTOR)
    parser.add_argument("--poses", type=int, default=25)
    options = parser.parse_args()
    if windows.missing():
        raise SystemExit(f"error: install {', '.join(windows.missing())} first")
    windows.PATIENCE = PATIENCE
    result: dict[str, Any] = {"poses": options.poses, "bar_seconds": BAR, "rows": []}
    for size in SIZES:
        result["rows"].append(measure(options.blender, options.actor, size, options.poses))
        print(result["rows"][-1], flush=True)
    result["scrub"] = scrub(options.blender, options.actor)
    print(result["scrub"], flush=True)
    RESULT.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
