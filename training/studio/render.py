"""Renders a list of pictures inside of Blender: `SCRIPT -- JOB.json`. Needs numpy and bpy only.

The job names the scene (the studio's character, or a user's file) and the pictures; each one is written beside its
place and renamed, so that whatever exists is whole. One line a picture goes to stdout for the outer process.
"""

from __future__ import annotations

import json
import os
import sys
import traceback
from pathlib import Path
from typing import Any

sys.path[:] = [str(Path(__file__).resolve().parents[2]), *(p for p in sys.path if p != str(Path(__file__).parent))]

import bpy  # noqa: E402

from training.studio.scene import add_camera, build_character, set_up_light, set_up_render  # noqa: E402


def main(job: dict[str, Any]) -> None:
    bpy.ops.wm.read_factory_settings(use_empty=True)
    scene = bpy.context.scene
    set_up_light(scene)
    build_character(Path(job["character"]))
    set_up_render(scene, job["samples"], job["threads"])
    cameras = [add_camera(scene, view["name"], view) for view in job["cameras"]]
    for number, picture in enumerate(job["pictures"]):
        if scene.frame_current != picture["frame"] or number == 0:
            scene.frame_set(picture["frame"])
        view = job["cameras"][picture["camera"]]
        scene.camera = cameras[picture["camera"]]
        scene.render.resolution_x, scene.render.resolution_y = view["width"], view["height"]
        scene.cycles.seed = picture["seed"]
        render_picture(scene, Path(picture["path"]))
        print(f"STUDIO picture {number}", flush=True)


def render_picture(scene: bpy.types.Scene, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.stem}.{os.getpid()}.part.png")
    scene.render.filepath = str(temporary)
    bpy.ops.render.render(write_still=True)
    os.replace(temporary, path)


if __name__ == "__main__":
    code = 1
    try:
        main(json.loads(Path(sys.argv[sys.argv.index("--") + 1]).read_text(encoding="utf-8")))
        code = 0
    except Exception:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)  # the bpy module may hang when the interpreter ends
