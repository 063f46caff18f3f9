"""Runs inside Blender, for blender_overhead.py: the demo's first frame without avatars and with them, turn by turn.

Arguments: JSON with what the demo's scene wants, turns and quality. Prints `TURN {…}` for each and waits for a line.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from typing import Any

import bpy
import demo_scene as demo  # blend_templates/demo/scene.py, laid beside this file


def main(arguments: list[str]) -> int:
    job = json.loads(arguments[0])
    asked = build(job)
    bpy.ops.avatar.setup_compositing()
    render()  # starts the worker, loads the actor
    for _ in range(job["turns"]):
        composite(False)
        alone = timed(render)[1]
        composite(True)
        both = timed(render)[1]
        print("TURN " + json.dumps({"set": alone, "composited": both, **asked[-1]}), flush=True)
        sys.stdin.readline()
    return 0


def composite(wanted: bool) -> None:
    """With the avatar or without, as frames of an animation are rendered: nothing is set up anew for each."""
    scene = bpy.context.scene
    scene.render.use_compositing = wanted
    for layer in scene.view_layers:
        layer.use_pass_z = layer.use_pass_mist = wanted


def build(job: dict[str, Any]) -> list[dict[str, Any]]:
    """The scene, not yet composited. Returns the list that requests of the worker will be added to."""
    bpy.ops.wm.read_factory_settings(use_empty=True)
    import addon_utils

    addon = addon_utils.enable("bl_ext.user_default.neural_avatars")
    scene = bpy.context.scene
    demo.configure(scene, job)
    scene.cycles.samples, scene.cycles.use_denoising = 1, False
    scene.render.compositor_device = "CPU"  # Blender 5 would have a machine without a GPU emulate one
    demo.build_set(scene)
    scene.camera = demo.add_camera(scene, len(job["pose"]))
    bpy.ops.avatar.load_actor(filepath=job["actor"])
    rig = next(item for item in scene.objects if item.avatar.actor_path)
    rig.avatar.quality = job["quality"]
    demo.key_motion(rig, job["joints"], job["pose"][:1], job["transl"][:1])
    scene.frame_set(1)
    for surface in bpy.data.materials:
        make_shadeless(surface)
    session = sys.modules[f"{addon.__name__}.session"]
    real, asked = session.Session.render, list[dict[str, Any]]()

    def record(self: Any, path: Any, controls: Any, camera: Any, *rest: Any) -> Any:
        planes, waited = timed(lambda: real(self, path, controls, camera, *rest))
        asked.append({"controls": controls, "camera": camera, "waited": waited})
        return planes

    session.Session.render = record
    return asked


def make_shadeless(surface: Any) -> None:
    """The set's own time, which is subtracted, varies less the shorter it is."""
    surface.use_nodes = True
    tree = surface.node_tree
    tree.nodes.clear()
    light, output = tree.nodes.new("ShaderNodeEmission"), tree.nodes.new("ShaderNodeOutputMaterial")
    tree.links.new(light.outputs[0], output.inputs[0])


def timed(work: Callable[[], Any]) -> tuple[Any, float]:
    """What `work` returns, and the seconds it took."""
    start = time.perf_counter()
    made = work()
    return made, time.perf_counter() - start


def render() -> None:
    assert bpy.ops.render.render() == {"FINISHED"}
