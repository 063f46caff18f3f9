"""Renders a list of pictures inside of Blender: `SCRIPT -- JOB.json`. Needs numpy and bpy only.

The job names the scene (the studio's character, or a user's file) and the pictures; each one is written
beside its place and renamed, so that whatever exists is whole. Prints one line a picture.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import bpy

from training.studio.rigged import StudioFailure, clear_stage, find_character, open_file
from training.studio.scene import add_camera, add_occluder, build_character, set_up_light, set_up_render
from training.studio.script import run_job, tell


def main(job: dict[str, Any]) -> None:
    if job["blend"]:
        open_file(Path(job["blend"]))
        clear_stage(find_character(job["armature"], job["meshes"]), job["keep_light"])
    else:
        bpy.ops.wm.read_factory_settings(use_empty=True)
        build_character(Path(job["character"]))
        for box in job["occluders"]:
            add_occluder(bpy.context.scene, box["centre"], box["half"])
    scene = bpy.context.scene
    if not job["keep_light"]:
        set_up_light(scene)
    set_up_render(scene, job["samples"], job["threads"])
    cameras = [add_camera(scene, view["name"], view) for view in job["cameras"]]
    if job["save_blend"]:
        scene.camera = cameras[0]
        bpy.ops.wm.save_as_mainfile(filepath=job["save_blend"], compress=True, check_existing=False)
    shown = None
    for number, picture in enumerate(job["pictures"]):
        if picture["frame"] != shown:
            scene.frame_set(picture["frame"])
            shown = picture["frame"]
        view = job["cameras"][picture["camera"]]
        scene.camera = cameras[picture["camera"]]
        scene.render.resolution_x, scene.render.resolution_y = view["width"], view["height"]
        scene.cycles.seed = picture["seed"]
        render_picture(scene, Path(picture["path"]))
        tell("picture", str(number))


def render_picture(scene: bpy.types.Scene, path: Path) -> None:
    """A PNG, whole or not at all. Raises StudioFailure."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.stem}.{os.getpid()}.part.png")
    scene.render.filepath = str(temporary)
    try:
        bpy.ops.render.render(write_still=True)
        os.replace(temporary, path)
    except (OSError, RuntimeError) as error:
        raise StudioFailure(f"{path} cannot be rendered: {error}") from error


if __name__ == "__main__":
    run_job(main)
