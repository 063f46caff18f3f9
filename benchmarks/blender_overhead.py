"""What Blender adds to a frame: `python benchmarks/blender_overhead.py [--repeat 5] [--quality preview]`.

The demo's first frame at 1920 x 1080 in the bpy module of this Python, from a render's start to its end. Turn by turn:
the set alone (what Blender would render anyway, without compositing), the set with the avatar composited into it, and
`Actor.render` called directly with the very controls and camera. Added is composited - set - core: whatever is neither
the set nor the avatar. Of it, waited - core is the worker's (`waited`: from the extension's request to the planes that
it gets), the rest is Blender's: depth and mist of the set, the avatars' scene and passes, the compositor. The bar is
10 % of the core's time. The set takes longer than all that is added, so measure on a machine that does nothing else.
Writes benchmarks/results/blender_overhead.json.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import shlex
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

import avatar_core.worker.__main__  # noqa: E402, F401, I001 - first: threads wait here as they do in the worker
import bpy  # noqa: E402

from avatar_core.actor import Actor  # noqa: E402
from avatar_core.body.joints import SMPL_JOINTS  # noqa: E402
from avatar_core.camera import Camera  # noqa: E402
from avatar_core.controls import Controls  # noqa: E402
from blend_templates.demo import scene as demo  # noqa: E402
from blend_templates.demo.command import ACTOR  # noqa: E402
from blend_templates.demo.motion import demo_motion  # noqa: E402
from build_addon import stage  # noqa: E402

RESULT = ROOT / "benchmarks" / "results" / "blender_overhead.json"
SIZE = (1920, 1080)
BAR = 0.1


def build(folder: Path, quality: str) -> list[dict[str, Any]]:
    """The demo's scene, not yet composited. Returns the list that requests of the worker will be added to."""
    os.environ["AVATAR_WORKER"] = shlex.join([sys.executable, "-I", "-m", "avatar_core.worker"])
    stage(folder / "neural_avatars")
    sys.path.insert(0, str(folder))
    bpy.ops.wm.read_factory_settings(use_empty=True)
    importlib.import_module("neural_avatars").register()
    scene = bpy.context.scene
    pose, transl = demo_motion(48)
    demo.configure(scene, {"resolution": SIZE, "output": str(folder), "pose": pose})
    scene.cycles.samples, scene.cycles.use_denoising = 1, False
    demo.build_set(scene)
    scene.camera = demo.add_camera(scene, len(pose))
    bpy.ops.avatar.load_actor(filepath=str(ACTOR))
    rig = next(item for item in scene.objects if item.avatar.actor_path)
    rig.avatar.quality = quality
    demo.key_motion(rig, list(SMPL_JOINTS), pose[:1].tolist(), transl[:1].tolist())
    scene.frame_set(1)
    asked: list[dict[str, Any]] = []
    session = importlib.import_module("neural_avatars.session")
    real = session.Session.render

    def record(self: Any, path: Any, controls: Any, camera: Any, *rest: Any) -> Any:
        planes, waited = timed(lambda: real(self, path, controls, camera, *rest))
        asked.append({"controls": controls, "camera": camera, "waited": waited})
        return planes

    session.Session.render = record
    return asked


def timed(work: Callable[[], Any]) -> tuple[Any, float]:
    """What `work` returns, and the seconds it took."""
    start = time.perf_counter()
    made = work()
    return made, time.perf_counter() - start


def seconds(work: Callable[[], object]) -> float:
    return timed(work)[1]


def render() -> None:
    assert bpy.ops.render.render() == {"FINISHED"}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--repeat", type=int, default=5)
    parser.add_argument("--quality", default="preview")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        asked = build(Path(folder), options.quality)
        bpy.ops.avatar.setup_compositing()
        render()  # starts the worker, loads the actor, learns what it is asked
        actor = Actor.load(ACTOR)
        schema_controls, camera = Controls.from_dict(asked[0]["controls"]), Camera.from_dict(asked[0]["camera"])
        times: dict[str, list[float]] = {"set": [], "composited": [], "core": [], "waited": []}
        for turn in range(options.repeat + 1):
            bpy.ops.avatar.remove_compositing()
            alone = seconds(render)
            bpy.ops.avatar.setup_compositing()
            both = seconds(render)
            core = seconds(lambda: actor.render(schema_controls, camera, options.quality))
            if turn:  # the first one warms up
                for name, value in zip(times, (alone, both, core, asked[-1]["waited"])):
                    times[name].append(value)
    added = [both - alone - core for alone, both, core, _ in zip(*times.values())]
    share = statistics.median(added) / statistics.median(times["core"])
    medians = {name: round(statistics.median(values), 3) for name, values in times.items()}
    result = {
        "size": SIZE,
        "quality": options.quality,
        "repeat": options.repeat,
        "blender": bpy.app.version_string,
        "seconds": {**medians, "added": round(statistics.median(added), 3)},
        "added_share_of_core": round(share, 3),
        "bar": BAR,
    }
    print(json.dumps(result, indent=2), flush=True)
    RESULT.parent.mkdir(parents=True, exist_ok=True)
    RESULT.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    os._exit(0)  # bpy 4.5 hangs when the interpreter ends after a render


if __name__ == "__main__":
    main()
