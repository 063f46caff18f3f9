"""Runs inside Blender (the bpy module or `blender -b -P`): builds the demo's scene, poses the actor, renders.

Everything goes through the extension's own operators, as an animator's clicks would. Only numpy, the standard library
and bpy: Blender's Python has nothing else.
"""

from __future__ import annotations

import importlib
import json
import math
import os
import sys
import traceback
from pathlib import Path
from typing import Any

import bpy
import mathutils

_SAMPLES = 12
_FPS = 24


def main(path: str) -> None:
    job = json.loads(Path(path).read_text(encoding="utf-8"))
    sys.path.insert(0, job["addons"])
    bpy.ops.wm.read_factory_settings(use_empty=True)
    importlib.import_module("neural_avatars").register()
    scene = bpy.context.scene
    configure(scene, job)
    build_set(scene)
    camera = add_camera(scene, len(job["pose"]))
    bpy.ops.avatar.load_actor(filepath=job["actor"])
    rig = next(item for item in scene.objects if item.avatar.actor_path)
    rig.avatar.quality = job["quality"]
    key_motion(rig, job["joints"], job["pose"], job["transl"])
    scene.camera = camera
    bpy.ops.avatar.setup_compositing()
    bpy.app.handlers.render_write.append(lambda *_: print("avatar-demo: frame", flush=True))
    bpy.ops.wm.save_as_mainfile(filepath=os.path.join(job["output"], "demo.blend"), check_existing=False)
    result = bpy.ops.render.render(animation=True)
    problems = importlib.import_module("neural_avatars.failures").found()
    if problems or result != {"FINISHED"}:
        raise RuntimeError(problems[0] if problems else "the render was stopped")
    encode_video(job)


def configure(scene: Any, job: dict[str, Any]) -> None:
    render = scene.render
    render.engine = "CYCLES"
    scene.cycles.samples = _SAMPLES
    scene.cycles.use_denoising = True
    scene.cycles.max_bounces = 3
    render.use_persistent_data = True
    render.resolution_x, render.resolution_y = job["resolution"]
    render.resolution_percentage = 100
    render.fps = _FPS
    render.filepath = os.path.join(job["output"], "frame_")
    set_format(render, "PNG")
    scene.frame_start, scene.frame_end = 1, len(job["pose"])
    scene.view_settings.view_transform = "Standard"


def set_format(render: Any, name: str) -> None:
    settings = render.image_settings
    if hasattr(settings, "media_type"):  # Blender 5
        settings.media_type = "VIDEO" if name == "FFMPEG" else "IMAGE"
    settings.file_format = name


def build_set(scene: Any) -> None:
    """A floor that curves up into a wall, an arch behind the path, a bollard and a rail in front of it."""
    world = bpy.data.worlds.new("sky")
    scene.world = world
    world.use_nodes = True
    world.node_tree.nodes["Background"].inputs[0].default_value = (0.62, 0.72, 0.86, 1)
    world.node_tree.nodes["Background"].inputs[1].default_value = 0.7
    add_backdrop(material("plaster", (0.55, 0.5, 0.45), 0.9))
    wood, steel, brick = (
        material("wood", (0.32, 0.17, 0.08), 0.5),
        material("steel", (0.12, 0.2, 0.3), 0.35, metallic=0.6),
        material("brick", (0.5, 0.17, 0.11), 0.8),
    )
    for x in (-1.25, 1.25):
        add_box("column", (x, 1.5, 1.2), (0.36, 0.36, 2.4), brick)
    add_box("lintel", (0, 1.5, 2.55), (2.9, 0.4, 0.3), brick)
    add_box("crate", (-0.95, 0.75, 0.3), (0.6, 0.6, 0.6), wood, turn=0.35)
    bpy.ops.mesh.primitive_cylinder_add(radius=0.09, depth=0.95, location=(0.42, -1.15, 0.475))
    dress(bpy.context.object, "bollard", steel)
    bpy.ops.mesh.primitive_uv_sphere_add(radius=0.11, location=(0.42, -1.15, 0.98))
    dress(bpy.context.object, "knob", steel)
    add_box("bench", (-0.72, -0.95, 0.2), (0.7, 0.28, 0.4), wood, turn=-0.2)
    sun = bpy.data.objects.new("sun", bpy.data.lights.new("sun", "SUN"))
    sun.data.energy, sun.data.angle = 2.6, 0.12
    sun.rotation_euler = (math.radians(46), 0, math.radians(-58))
    scene.collection.objects.link(sun)


def add_backdrop(surface: Any) -> None:
    profile = [(-6.0, 0.0), (2.6, 0.0)]
    profile += [(2.6 + 1.2 * math.sin(a), 1.2 - 1.2 * math.cos(a)) for a in (0.3, 0.6, 0.9, 1.2, math.pi / 2)]
    profile.append((3.8, 6.0))
    vertices = [(x, y, z) for y, z in profile for x in (-9.0, 9.0)]
    faces = [(2 * i, 2 * i + 1, 2 * i + 3, 2 * i + 2) for i in range(len(profile) - 1)]
    mesh = bpy.data.meshes.new("backdrop")
    mesh.from_pydata(vertices, [], faces)
    mesh.polygons.foreach_set("use_smooth", [True] * len(faces))
    item = bpy.data.objects.new("backdrop", mesh)
    bpy.context.scene.collection.objects.link(item)
    item.data.materials.append(surface)


def add_box(name: str, place: Any, size: Any, surface: Any, turn: float = 0.0) -> None:
    bpy.ops.mesh.primitive_cube_add(size=1, location=place, rotation=(0, 0, turn))
    item = bpy.context.object
    item.scale = size
    bevel = item.modifiers.new("bevel", "BEVEL")
    bevel.width = 0.015
    dress(item, name, surface)


def dress(item: Any, name: str, surface: Any) -> None:
    item.name = name
    item.data.materials.append(surface)


def material(name: str, colour: tuple[float, float, float], roughness: float, metallic: float = 0.0) -> Any:
    result = bpy.data.materials.new(name)
    result.use_nodes = True
    shader = result.node_tree.nodes["Principled BSDF"]
    shader.inputs["Base Color"].default_value = (*colour, 1)
    shader.inputs["Roughness"].default_value = roughness
    shader.inputs["Metallic"].default_value = metallic
    return result


def add_camera(scene: Any, frames: int) -> Any:
    """A camera on an arc in front of the path, always on the actor's chest."""
    camera = bpy.data.objects.new("camera", bpy.data.cameras.new("camera"))
    camera.data.lens = 34
    scene.collection.objects.link(camera)
    target = mathutils.Vector((0, -0.1, 0.88))
    for frame in (1, (1 + frames) // 2, max(frames, 2)):
        angle = math.radians(-24 + 48 * (frame - 1) / max(frames - 1, 1))
        camera.location = (4.0 * math.sin(angle), -4.0 * math.cos(angle), 1.35)
        camera.rotation_euler = (target - camera.location).to_track_quat("-Z", "Y").to_euler()
        camera.keyframe_insert("location", frame=frame)
        camera.keyframe_insert("rotation_euler", frame=frame)
    return camera


def key_motion(rig: Any, joints: list[str], pose: list[Any], transl: list[Any]) -> None:
    """pose: [T][J][3] axis-angle; the rig's bones have SMPL's names and axes, so a rotation is a quaternion."""
    for frame, (turns, place) in enumerate(zip(pose, transl), 1):
        for joint, turn in zip(joints, turns):
            axis = mathutils.Vector(turn)
            bone = rig.pose.bones[joint]
            bone.rotation_quaternion = mathutils.Quaternion(axis.normalized(), axis.length)
            bone.keyframe_insert("rotation_quaternion", frame=frame)
        root = rig.pose.bones[joints[0]]
        root.location = place
        root.keyframe_insert("location", frame=frame)


def encode_video(job: dict[str, Any]) -> None:
    """demo.mp4 from the pictures, by Blender's own encoder."""
    scene = bpy.data.scenes.new("video")
    editor = scene.sequence_editor_create()
    strips = editor.strips if hasattr(editor, "strips") else editor.sequences
    folder, count = Path(job["output"]), len(job["pose"])
    strip = strips.new_image("frames", str(folder / "frame_0001.png"), 1, 1)
    for number in range(2, count + 1):
        strip.elements.append(f"frame_{number:04d}.png")
    strip.frame_final_duration = count
    scene.frame_start, scene.frame_end = 1, count
    scene.view_settings.view_transform = "Standard"
    render = scene.render
    render.resolution_x, render.resolution_y = (side // 2 * 2 for side in job["resolution"])
    render.resolution_percentage, render.fps = 100, _FPS
    render.use_file_extension = False
    set_format(render, "FFMPEG")
    render.ffmpeg.format, render.ffmpeg.codec = "MPEG4", "H264"
    render.ffmpeg.constant_rate_factor = "HIGH"
    render.filepath = str(folder / "demo.mp4")
    bpy.app.handlers.render_write.clear()
    bpy.ops.render.render(animation=True, scene=scene.name)


if __name__ == "__main__":
    code = 0
    try:
        main(sys.argv[-1])
    except Exception:
        traceback.print_exc()
        code = 1
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)  # bpy 4.5 hangs when the interpreter ends after an animation
