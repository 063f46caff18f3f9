"""Draws gdna.png: `python docs/images/make_gdna.py people.actor [SEED]`, in a Python that has the module bpy.

A sampled person of an actor of gDNA, made into a mesh by the extension, walks through a room that Cycles lights.
"""

from __future__ import annotations

import importlib
import math
import os
import shlex
import sys
import tempfile
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

import bpy  # noqa: E402
import mathutils  # noqa: E402
from PIL import Image  # noqa: E402

import build_addon  # noqa: E402
from blend_templates.motions import load_motion  # noqa: E402

WIDTH, HEIGHT, SAMPLES = 300, 400, 16
MOMENTS = 3  # of the walk
SPEED = 0.032  # metres a frame, so that the standing foot stays where it is
DETAIL = 1  # 10 mm


def main(actor: Path, seed: int, target: Path) -> None:
    with tempfile.TemporaryDirectory() as folder:
        install(Path(folder))
        bpy.ops.wm.read_factory_settings(use_empty=True)
        rig = load(actor, seed)
        frames = walk(rig)
        room(rig)
        pictures = []
        for number in range(MOMENTS):
            bpy.context.scene.frame_set(1 + round(number * frames / MOMENTS / 2))
            path = Path(folder) / f"{number}.png"
            bpy.context.scene.render.filepath = str(path)
            bpy.ops.render.render(write_still=True)
            pictures.append(Image.open(path).convert("RGB"))
        sheet = Image.new("RGB", (MOMENTS * WIDTH, HEIGHT))
        for number, picture in enumerate(pictures):
            sheet.paste(picture, (number * WIDTH, 0))
        sheet.save(target, optimize=True)


def install(folder: Path) -> None:
    """Switches the extension on, with a worker in this Python."""
    build_addon.stage(folder / "neural_avatars")
    sys.path.insert(0, str(folder))
    importlib.import_module("neural_avatars").register()
    code = f"import sys; sys.path.insert(0, {str(ROOT)!r}); from avatar_core.worker.__main__ import main; main([])"
    os.environ["AVATAR_WORKER"] = shlex.join([sys.executable, "-I", "-c", code])


def load(actor: Path, seed: int) -> Any:
    assert bpy.ops.avatar.load_actor(filepath=str(actor.absolute())) == {"FINISHED"}
    rig = next(found for found in bpy.context.scene.objects if found.avatar.actor_path)
    bpy.context.view_layer.objects.active = rig
    assert bpy.ops.avatar.sample_person(seed=seed) == {"FINISHED"}
    assert bpy.ops.avatar.make_mesh(detail=DETAIL) == {"FINISHED"}
    return rig


def walk(rig: Any) -> int:
    """Keys for two cycles of our walk; returns how many frames."""
    motion, joints = load_motion("walk"), [group.name for group in rig.avatar.person_mesh.vertex_groups]
    count = 2 * len(motion.pose)
    for frame in range(count):
        pose, place = motion.pose[frame % len(motion.pose)], motion.transl[frame % len(motion.pose)].copy()
        place[2] += SPEED * (frame - count / 2)
        for joint, turn in zip(joints, pose):
            vector, bone = mathutils.Vector(turn.tolist()), rig.pose.bones[joint]
            bone.rotation_quaternion = mathutils.Quaternion(vector.normalized(), vector.length)
            bone.keyframe_insert("rotation_quaternion", frame=frame + 1)
        root = rig.pose.bones[joints[0]]
        root.location = place.tolist()
        root.keyframe_insert("location", frame=frame + 1)
    return count


def room(rig: Any) -> None:
    """A floor at the soles, a wall, a window's light from the left."""
    scene = bpy.context.scene
    scene.frame_set(1)
    mesh = rig.avatar.person_mesh.evaluated_get(bpy.context.evaluated_depsgraph_get())
    ground = min((mesh.matrix_world @ vertex.co).z for vertex in mesh.data.vertices)
    floor, wall = paint("Floor", (0.28, 0.2, 0.14)), paint("Wall", (0.55, 0.6, 0.66))
    plane((0, 0, ground), (0, 0, 0), floor)
    plane((0, 2.2, ground), (math.radians(90), 0, 0), wall)
    for name, place, size, energy, colour in (
        ("Window", (-2.6, -1.6, 1.6), 1.5, 160.0, (1.0, 0.93, 0.84)),
        ("Sky", (2.4, -2.0, 2.4), 2.5, 40.0, (0.75, 0.85, 1.0)),
    ):
        lamp = bpy.data.objects.new(name, bpy.data.lights.new(name, "AREA"))
        lamp.data.size, lamp.data.energy, lamp.data.color = size, energy, colour
        lamp.location = (place[0], place[1], ground + place[2] + 0.4)
        aim(lamp, (0, 0, ground + 0.9))
        scene.collection.objects.link(lamp)
    camera = bpy.data.objects.new("Camera", bpy.data.cameras.new("Camera"))
    camera.data.lens, camera.location = 75, (1.5, -4.0, ground + 1.3)
    aim(camera, (0, 0, ground + 0.85))
    scene.collection.objects.link(camera)
    scene.camera = camera
    scene.world = bpy.data.worlds.new("World")
    scene.world.color = (0.05, 0.06, 0.07)
    scene.render.engine, scene.cycles.samples, scene.cycles.use_denoising = "CYCLES", SAMPLES, True
    scene.render.resolution_x, scene.render.resolution_y, scene.render.resolution_percentage = WIDTH, HEIGHT, 100


def aim(thing: Any, at: tuple[float, float, float]) -> None:
    towards = mathutils.Vector(at) - thing.location
    thing.rotation_euler = towards.to_track_quat("-Z", "Y").to_euler()


def paint(name: str, colour: tuple[float, float, float]) -> Any:
    material = bpy.data.materials.new(name)
    material.use_nodes = True
    shader = next(node for node in material.node_tree.nodes if node.bl_idname == "ShaderNodeBsdfPrincipled")
    shader.inputs["Base Color"].default_value = (*colour, 1)
    shader.inputs["Roughness"].default_value = 0.6
    return material


def plane(place: tuple[float, float, float], turn: tuple[float, float, float], material: Any) -> None:
    bpy.ops.mesh.primitive_plane_add(size=30, location=place, rotation=turn)
    bpy.context.object.data.materials.append(material)


if __name__ == "__main__":
    code = 1
    try:
        main(Path(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 1, Path(__file__).with_name("gdna.png"))
        code = 0
    finally:  # Blender's own shutdown can hang
        sys.stdout.flush()
        os._exit(code)
