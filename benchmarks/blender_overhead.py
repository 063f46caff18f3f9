"""What Blender adds to a frame: `python benchmarks/blender_overhead.py [BLENDER] [--repeat 9]`.

The demo's first frame at 1920 x 1080 in each quality, in BLENDER or the bpy module of this Python, from a render's
start to its end. Turn by turn: the set alone (what Blender would render anyway, without compositing; its surfaces are
shadeless here), the set with the avatar composited into it, and `Actor.render` called directly with the very controls
and camera. Added is composited - set - core: whatever is neither the set nor the avatar. Of it, waited - core is the
worker's (`waited`: from the extension's request to the planes that it gets), the rest is Blender's: depth and mist of
the set, the avatars' scene and passes, the compositor. The bar is 10 % of the core's time, in the quality that actors
are loaded with. Measure on a machine that does nothing else.
Writes benchmarks/results/blender_overhead.json.
"""

from __future__ import annotations

import argparse
import json
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests" / "blender")]

import avatar_core.worker.__main__  # noqa: E402, F401, I001 - first: threads wait here as they do in the worker
import blenders  # noqa: E402

from avatar_core.actor import Actor  # noqa: E402
from avatar_core.body.joints import SMPL_JOINTS  # noqa: E402
from avatar_core.camera import Camera  # noqa: E402
from avatar_core.controls import Controls  # noqa: E402
from blend_templates.demo.command import ACTOR  # noqa: E402
from blend_templates.demo.motion import demo_motion  # noqa: E402

RESULT = ROOT / "benchmarks" / "results" / "blender_overhead.json"
SIZE = (1920, 1080)
BAR = 0.1
QUALITIES = ("final", "preview")  # the first one is what actors are loaded with
TIMES = ("set", "composited", "waited", "core")


def start(studio: blenders.Studio, turns: int, quality: str) -> subprocess.Popen[str]:
    """Blender, which tells of a turn and waits for a line before the next."""
    shutil.copy(ROOT / "benchmarks" / "overhead_in_blender.py", studio.folder / "inside")
    shutil.copy(ROOT / "blend_templates" / "demo" / "scene.py", studio.folder / "inside" / "demo_scene.py")
    pose, transl = demo_motion(48)
    job: dict[str, Any] = {"resolution": SIZE, "output": str(studio.folder), "actor": str(studio.actor)}
    job |= {"joints": list(SMPL_JOINTS), "pose": pose.tolist(), "transl": transl.tolist()}
    job |= {"turns": turns, "quality": quality}
    runner, script = studio.folder / "run_in_blender.py", studio.folder / "inside" / "overhead_in_blender.py"
    asked = [str(runner), "--", str(script), json.dumps(job)]
    return subprocess.Popen(
        studio.blender.command(*([] if studio.blender.module else ["-P"]), *asked),
        cwd=studio.folder,
        env=studio.environment(),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def measure(studio: blenders.Studio, turns: int, quality: str) -> dict[str, list[float]]:
    """Seconds of each turn; the first one warms up."""
    actor, times = Actor.load(ACTOR), {name: list[float]() for name in TIMES}
    blender = start(studio, turns, quality)
    assert blender.stdin is not None and blender.stdout is not None
    for line in blender.stdout:
        if not line.startswith("TURN "):
            continue
        told: dict[str, Any] = json.loads(line.removeprefix("TURN "))
        controls, camera = Controls.from_dict(told["controls"]), Camera.from_dict(told["camera"])
        began = time.perf_counter()
        actor.render(controls, camera, quality)
        told["core"] = time.perf_counter() - began
        for name in TIMES:
            times[name].append(told[name])
        blender.stdin.write("\n")
        blender.stdin.flush()
    if blender.wait() or not times["set"]:
        raise SystemExit("error: Blender ended early; the lines above say why")
    return {name: values[1:] for name, values in times.items()}


def row(times: dict[str, list[float]], quality: str) -> dict[str, Any]:
    """Medians, and what was added in the median turn."""
    added = [both - alone - core for alone, both, _, core in zip(*times.values())]
    medians = {name: round(statistics.median(values), 3) for name, values in times.items()}
    share = statistics.median(added) / statistics.median(times["core"])
    seconds = {**medians, "added": round(statistics.median(added), 3)}
    blender = [both - alone - waited for alone, both, waited, _ in zip(*times.values())]
    seconds["added_by_blender"] = round(statistics.median(blender), 3)
    return {"quality": quality, "seconds": seconds, "added_share_of_core": round(share, 3)}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("blender", nargs="?", default=sys.executable)
    parser.add_argument("--repeat", type=int, default=9)
    options = parser.parse_args()
    result: dict[str, Any] = {"size": SIZE, "repeat": options.repeat, "bar": BAR, "rows": []}
    for quality in QUALITIES:
        with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
            studio = blenders.prepared(options.blender, ACTOR, Path(folder))
            result["blender"] = studio.blender.name
            result["rows"].append(row(measure(studio, options.repeat + 1, quality), quality))
        print(result["rows"][-1], flush=True)
    RESULT.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
