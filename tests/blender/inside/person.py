"""A person of an actor that has codes, as an artist gets it. Arguments: the actor file, a folder for the results."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import bpy
import mathutils
import numpy as np

BETAS = {"beta_00": 1.5, "beta_03": -1.0}
POSES = 100
LAST = 3  # frame of the stride
UP = np.array([[1.0, 0, 0], [0, 0, 1], [0, -1, 0]])  # Blender's world to avatar_core's


def main(arguments: list[str]) -> int:
    actor, folder = arguments[0], Path(arguments[1])
    bpy.ops.wm.read_homefile(use_empty=True, use_factory_startup=False)
    assert bpy.ops.avatar.load_actor(filepath=actor) == {"FINISHED"}
    rig = next(found for found in bpy.context.scene.objects if found.avatar.actor_path)
    for name, value in BETAS.items():
        rig.avatar.mesh.data.shape_keys.key_blocks[name].value = value
    bpy.context.view_layer.objects.active = rig
    assert bpy.ops.avatar.sample_person(seed=3) == {"FINISHED"}
    assert bpy.ops.avatar.make_mesh(detail=1) == {"FINISHED"}
    first = rig.avatar.person_mesh.data.name
    assert bpy.ops.avatar.make_mesh(detail=1) == {"FINISHED"}  # in place of the first
    assert len([m for m in bpy.data.meshes if m.name.startswith(first)]) == 1
    mesh = rig.avatar.person_mesh
    keys = mesh.data.shape_keys.key_blocks
    report: dict[str, Any] = {
        "codes": {name: list(rig[name]) for name in rig.avatar.latents.split(",")},
        "keys": [key.name for key in keys],
        "groups": [group.name for group in mesh.vertex_groups],
        "hidden": rig.hide_render and not mesh.hide_render,
        "attributes": [one.name for one in mesh.data.attributes],
    }
    relief = keys["detail"]
    flat = np.empty(len(mesh.data.vertices) * 3, np.float32)
    raised = flat.copy()
    keys[0].data.foreach_get("co", flat)
    relief.data.foreach_get("co", raised)
    lifted = (raised - flat).reshape(-1, 3)
    normals = flat.copy()
    mesh.data.attributes["detail_normal"].data.foreach_get("vector", normals)
    report["picture"] = picture(folder)
    shape = rig.avatar.mesh.data.shape_keys.key_blocks
    for name in BETAS:
        shape[name].value = 0.75  # Blender's importer of glTF clamps to 0 ... 1
    walk(rig)
    kinds = ("glb", "usdc") if bpy.app.build_options.usd else ("glb",)  # Debian's Blenders have no USD
    report["files"] = {kind: exchange(mesh, folder / f"person.{kind}") for kind in kinds}
    rig.animation_data_clear()
    for name, value in BETAS.items():
        shape[name].value = value
    relief.value = 0.0
    colours = np.empty(len(mesh.data.vertices) * 4, np.float32)
    mesh.data.color_attributes["Color"].data.foreach_get("color_srgb", colours)
    shown = {"colours": colours.reshape(-1, 4)[:, :3], "normals": normals.reshape(-1, 3), "relief": lifted}
    np.savez(folder / "posed.npz", **shown, **posed(rig, mesh))
    for name in BETAS:
        shape[name].value = 0.5
    bpy.context.view_layer.update()
    report["followed"] = [keys.id_data.evaluated_get(graph()).key_blocks[name].value for name in BETAS]
    bpy.context.view_layer.objects.active = rig
    bpy.context.scene.frame_set(10)
    before = list(rig["shape"])
    assert bpy.ops.avatar.key_person(frames=20, seed=4) == {"FINISHED"}
    after = list(rig["shape"])
    bpy.context.scene.frame_set(20)
    middle = list(rig.evaluated_get(graph())["shape"])
    report["between"] = [(m - b) / (a - b) for b, m, a in zip(before, middle, after)]
    print("REPORT " + json.dumps(report), flush=True)
    return 0


def graph() -> bpy.types.Depsgraph:
    found = bpy.context.evaluated_depsgraph_get()
    found.update()
    return found


def posed(rig: bpy.types.Object, mesh: bpy.types.Object) -> dict[str, np.ndarray]:
    """Random poses and what Blender makes of the mesh, in avatar_core's world."""
    random = np.random.default_rng(1)
    joints = [group.name for group in mesh.vertex_groups]
    poses = random.normal(0, 0.5, (POSES, len(joints), 3)).astype(np.float32)
    transl = random.normal(0, 0.5, (POSES, 3)).astype(np.float32)
    found = []
    for pose, place in zip(poses, transl):
        for joint, turn in zip(joints, pose):
            vector = mathutils.Vector(turn.tolist())
            rig.pose.bones[joint].rotation_quaternion = mathutils.Quaternion(vector.normalized(), vector.length)
        rig.pose.bones[joints[0]].location = place.tolist()
        found.append(places(mesh))
    return {"pose": poses, "transl": transl, "vertices": np.stack(found)}


def places(mesh: bpy.types.Object) -> np.ndarray:
    """[V, 3] float32."""
    evaluated = mesh.evaluated_get(graph())
    values = np.empty(len(evaluated.data.vertices) * 3, np.float32)
    evaluated.data.vertices.foreach_get("co", values)
    world = np.array(evaluated.matrix_world)
    return ((values.reshape(-1, 3) @ world[:3, :3].T + world[:3, 3]) @ UP.T).astype(np.float32)


def walk(rig: bpy.types.Object) -> None:
    """Keys on the avatar's bones, from rest to a stride."""
    scene = bpy.context.scene
    scene.frame_start, scene.frame_end = 1, LAST
    for frame, turn in ((1, 0.0), (LAST, 0.6)):
        for name, sign in (("left_hip", 1), ("right_hip", -1), ("pelvis", 0.5)):
            bone = rig.pose.bones[name]
            bone.rotation_quaternion = mathutils.Quaternion((1, 0, 0), sign * turn)
            bone.keyframe_insert("rotation_quaternion", frame=frame)
    scene.frame_set(LAST)


def exchange(mesh: bpy.types.Object, path: Path) -> dict[str, Any]:
    """Writes the person by Blender's own exporter and opens the file again: how far is it from what was written?"""
    scene = bpy.context.scene
    wanted = places(mesh)
    mesh.parent.hide_set(False)
    for found in scene.objects:
        found.select_set(found in (mesh, mesh.parent))
    before = set(bpy.data.objects)
    if path.suffix == ".glb":
        options = {"export_animation_mode": "SCENE", "export_all_influences": True}
        bpy.ops.export_scene.gltf(filepath=str(path), use_selection=True, **options)
        bpy.ops.import_scene.gltf(filepath=str(path))
    else:
        bpy.ops.wm.usd_export(filepath=str(path), selected_objects_only=True, export_animation=True)
        bpy.ops.wm.usd_import(filepath=str(path))
    new = [found for found in bpy.data.objects if found not in before]
    scene.frame_set(LAST)
    read = max((found for found in new if found.type == "MESH"), key=lambda found: len(found.data.vertices))
    given = places(read)
    tree = mathutils.kdtree.KDTree(len(given))
    for number, place in enumerate(given.tolist()):
        tree.insert(place, number)
    tree.balance()
    armature = read.find_armature()
    result = {
        "apart": max(tree.find(place)[2] for place in wanted.tolist()),
        "bones": len(armature.data.bones) if armature is not None else 0,
        "keys": len(read.data.shape_keys.key_blocks) if read.data.shape_keys is not None else 0,
    }
    for found in new:
        bpy.data.objects.remove(found)
    return result


def picture(folder: Path) -> dict[str, float]:
    """Rendered by Cycles as any mesh: the share of the picture that it covers."""
    scene = bpy.context.scene
    camera = bpy.data.objects.new("Camera", bpy.data.cameras.new("Camera"))
    camera.location, camera.rotation_euler = (0, -2, -0.3), (math.radians(90), 0, 0)
    scene.collection.objects.link(camera)
    scene.camera = camera
    scene.render.engine, scene.cycles.samples = "CYCLES", 1
    scene.cycles.use_denoising = False  # not every build can
    scene.render.resolution_x = scene.render.resolution_y = 48
    scene.render.resolution_percentage = 100
    scene.render.film_transparent = True
    scene.render.image_settings.file_format = "PNG"
    scene.render.filepath = str(folder / "person.png")
    bpy.ops.render.render(write_still=True)
    image = bpy.data.images.load(scene.render.filepath)
    pixels = np.array(image.pixels[:]).reshape(-1, 4)
    bpy.data.images.remove(image)
    return {"covered": float((pixels[:, 3] > 0.5).mean())}
