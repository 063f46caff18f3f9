"""Draws gdna.png and gdna_people.png: `python docs/images/make_gdna.py people.actor`, in a Python that has bpy.

People of an actor of gDNA, sampled and made into meshes by the extension, in a room that Cycles lights: one walks; some
stand side by side, in colours and as clay, which shows their folds.
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

SAMPLES = 32
DETAIL = 2  # 5 mm
WALKER, WALKER_SIZE = 1, (300, 400)
MOMENTS = 3  # of the walk
SPEED = 0.032  # metres a frame, so that the standing foot stays where it is
PEOPLE, PEOPLE_SIZE = (1, 2, 3, 5, 8), (900, 420)
APART = 0.95  # metres


def main(actor: Path, folder: Path) -> None:
    with tempfile.TemporaryDirectory() as home:
        install(Path(home))
        beside(walking(actor, Path(home))).save(folder / "gdna.png", optimize=True)
        above(standing(actor, Path(home))).save(folder / "gdna_people.png", optimize=True)


def walking(actor: Path, folder: Path) -> list[Image.Image]:
    """One person in some moments of a walk."""
    bpy.ops.wm.read_factory_settings(use_empty=True)
    rig = load(actor, WALKER)
    frames = walk(rig)
    room([rig], WALKER_SIZE, 75, (1.5, -4.0, 1.3))
    moments = [1 + round(number * frames / MOMENTS / 2) for number in range(MOMENTS)]
    return [render(folder / "moment.png", moment) for moment in moments]


def standing(actor: Path, folder: Path) -> list[Image.Image]:
    """Some people, in their colours and as clay."""
    bpy.ops.wm.read_factory_settings(use_empty=True)
    rigs = [load(actor, seed) for seed in PEOPLE]
    for number, rig in enumerate(rigs):
        walk(rig, 11 * number)
        rig.location.x += APART * (number - (len(rigs) - 1) / 2)
        rig.rotation_euler.z += 0.35 * (number - (len(rigs) - 1) / 2)
    room(rigs, PEOPLE_SIZE, 55, (0.0, -7.6, 1.2))
    frame = round(len(load_motion("walk").pose))  # in the middle of the way
    coloured = render(folder / "people.png", frame)
    clay = paint("Clay", (0.6, 0.56, 0.52))
    for rig in rigs:
        rig.avatar.person_mesh.data.materials[0] = clay
    return [coloured, render(folder / "people.png", frame)]


def render(path: Path, frame: int) -> Image.Image:
    bpy.context.scene.frame_set(frame)
    bpy.context.scene.render.filepath = str(path)
    bpy.ops.render.render(write_still=True)
    return Image.open(path).convert("RGB")


def beside(pictures: list[Image.Image]) -> Image.Image:
    sheet = Image.new("RGB", (sum(one.width for one in pictures), pictures[0].height))
    for number, picture in enumerate(pictures):
        sheet.paste(picture, (number * picture.width, 0))
    return sheet


def above(pictures: list[Image.Image]) -> Image.Image:
    sheet = Image.new("RGB", (pictures[0].width, sum(one.height for one in pictures)))
    for number, picture in enumerate(pictures):
        sheet.paste(picture, (0, number * picture.height))
    return sheet


def install(folder: Path) -> None:
    """Switches the extension on, with a worker in this Python."""
    build_addon.stage(folder / "neural_avatars")
    sys.path.insert(0, str(folder))
    importlib.import_module("neural_avatars").register()
    code = f"import sys; sys.path.insert(0, {str(ROOT)!r}); from avatar_core.worker.__main__ import main; main([])"
    os.environ["AVATAR_WORKER"] = shlex.join([sys.executable, "-I", "-c", code])


def load(actor: Path, seed: int) -> Any:
    assert bpy.ops.avatar.load_actor(filepath=str(actor.absolute())) == {"FINISHED"}
    rig = next(found for found in bpy.context.scene.objects if found.avatar.actor_path and not found.avatar.person_mesh)
    bpy.context.view_layer.objects.active = rig
    assert bpy.ops.avatar.sample_person(seed=seed) == {"FINISHED"}
    assert bpy.ops.avatar.make_mesh(detail=DETAIL) == {"FINISHED"}
    return rig


def walk(rig: Any, ahead: int = 0) -> int:
    """Keys for two cycles of our walk, begun so many frames later; returns how many frames."""
    motion, joints = load_motion("walk"), [group.name for group in rig.avatar.person_mesh.vertex_groups]
    count = 2 * len(motion.pose)
    for frame in range(count):
        moment = (frame + ahead) % len(motion.pose)
        pose, place = motion.pose[moment], motion.transl[moment].copy()
        place[2] += SPEED * (frame - count / 2)
        for joint, turn in zip(joints, pose):
            vector, bone = mathutils.Vector(turn.tolist()), rig.pose.bones[joint]
            bone.rotation_quaternion = mathutils.Quaternion(vector.normalized(), vector.length)
            bone.keyframe_insert("rotation_quaternion", frame=frame + 1)
        root = rig.pose.bones[joints[0]]
        root.location = place.tolist()
        root.keyframe_insert("location", frame=frame + 1)
    return count


def room(rigs: list[Any], size: tuple[int, int], lens: float, place: tuple[float, float, float]) -> None:
    """A floor at the soles, a wall, a window's light from the left. place: of the camera, metres above the floor."""
    scene = bpy.context.scene
    scene.frame_set(1)
    graph = bpy.context.evaluated_depsgraph_get()
    grounds = []
    for rig in rigs:
        mesh = rig.avatar.person_mesh.evaluated_get(graph)
        grounds.append(min((mesh.matrix_world @ vertex.co).z for vertex in mesh.data.vertices))
    for rig, own in zip(rigs, grounds):
        rig.location.z += min(grounds) - own
    ground = min(grounds)
    floor, wall = paint("Floor", (0.28, 0.2, 0.14)), paint("Wall", (0.55, 0.6, 0.66))
    plane((0, 0, ground), (0, 0, 0), floor)
    plane((0, 2.2, ground), (math.radians(90), 0, 0), wall)
    for name, where, side, energy, colour in (
        ("Window", (-2.6, -1.6, 1.6), 1.5, 160.0, (1.0, 0.93, 0.84)),
        ("Sky", (2.4, -2.0, 2.4), 2.5, 40.0, (0.75, 0.85, 1.0)),
    ):
        lamp = bpy.data.objects.new(name, bpy.data.lights.new(name, "AREA"))
        lamp.data.size, lamp.data.energy, lamp.data.color = side, energy * len(rigs) ** 0.7, colour
        lamp.location = (where[0] * len(rigs) ** 0.5, where[1], ground + where[2] + 0.4)
        aim(lamp, (0, 0, ground + 0.9))
        scene.collection.objects.link(lamp)
    camera = bpy.data.objects.new("Camera", bpy.data.cameras.new("Camera"))
    camera.data.lens, camera.location = lens, (place[0], place[1], ground + place[2])
    aim(camera, (0, 0, ground + 0.85))
    scene.collection.objects.link(camera)
    scene.camera = camera
    scene.world = bpy.data.worlds.new("World")
    scene.world.color = (0.05, 0.06, 0.07)
    scene.render.engine, scene.cycles.samples, scene.cycles.use_denoising = "CYCLES", SAMPLES, True
    (scene.render.resolution_x, scene.render.resolution_y), scene.render.resolution_percentage = size, 100


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
        main(Path(sys.argv[1]), Path(__file__).parent)
        code = 0
    finally:  # Blender's own shutdown can hang
        sys.stdout.flush()
        os._exit(code)
