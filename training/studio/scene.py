"""Builds the scene of a capture inside of Blender: light, cameras, and the studio's own character.

Runs in Blender's Python: numpy, bpy and the standard library only.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import bpy
import numpy as np
from mathutils import Matrix, Quaternion, Vector

from blend_templates.rig import RigArrays, build_rig

_UP = Matrix(((1, 0, 0, 0), (0, 0, -1, 0), (0, 1, 0, 0), (0, 0, 0, 1)))  # y up to Blender's z up
_CAMERA_AXES = Matrix.Diagonal((1, -1, -1, 1))  # OpenCV's x right, y down, z forward to Blender's
_LIGHT_BELOW, _LIGHT_ABOVE = 0.35, 1.15  # of the sky, by how much a direction points up


def set_up_render(scene: bpy.types.Scene, samples: int, threads: int) -> None:
    """Cycles on the CPU, few bounces, no denoising; 8-bit PNG with transparent background, plain sRGB."""
    render, cycles = scene.render, scene.cycles
    render.engine, cycles.device = "CYCLES", "CPU"
    cycles.samples, cycles.use_adaptive_sampling, cycles.use_denoising = samples, False, False
    cycles.max_bounces, cycles.use_auto_tile = 3, False
    render.use_persistent_data, render.film_transparent = True, True
    render.resolution_percentage, render.dither_intensity = 100, 0.0
    render.use_compositing = render.use_sequencer = False
    render.use_border = render.use_motion_blur = render.use_multiview = False
    render.pixel_aspect_x = render.pixel_aspect_y = 1.0
    render.use_file_extension, render.use_overwrite = True, True
    if threads:
        render.threads_mode, render.threads = "FIXED", threads
    if hasattr(render.image_settings, "media_type"):
        render.image_settings.media_type = "IMAGE"
    render.image_settings.file_format = "PNG"
    render.image_settings.color_mode, render.image_settings.color_depth = "RGBA", "8"
    scene.display_settings.display_device = "sRGB"
    scene.view_settings.view_transform, scene.view_settings.look = "Standard", "None"
    scene.view_settings.exposure, scene.view_settings.gamma = 0.0, 1.0


def set_up_light(scene: bpy.types.Scene) -> None:
    """A sky that brightens upwards and looks the same from every side: shading depends only on how much a
    surface faces up, so that turning around does not change a person's colours."""
    world = bpy.data.worlds.new("studio")
    scene.world = world
    if world.node_tree is None:
        world.use_nodes = True
    nodes, links = world.node_tree.nodes, world.node_tree.links
    nodes.clear()
    direction, split = nodes.new("ShaderNodeTexCoord"), nodes.new("ShaderNodeSeparateXYZ")
    brightness, sky = nodes.new("ShaderNodeMapRange"), nodes.new("ShaderNodeBackground")
    output = nodes.new("ShaderNodeOutputWorld")
    for name, value in zip(("From Min", "From Max", "To Min", "To Max"), (-1, 1, _LIGHT_BELOW, _LIGHT_ABOVE)):
        brightness.inputs[name].default_value = value
    links.new(direction.outputs["Generated"], split.inputs[0])
    links.new(split.outputs["Z"], brightness.inputs["Value"])
    links.new(brightness.outputs["Result"], sky.inputs["Strength"])
    sky.inputs["Color"].default_value = (1, 1, 1, 1)
    links.new(sky.outputs[0], output.inputs["Surface"])


def add_camera(scene: bpy.types.Scene, name: str, camera: dict[str, Any]) -> bpy.types.Object:
    """A Blender camera from the dictionary of an avatar_core Camera without distortion, of square pixels."""
    width, height, k = camera["width"], camera["height"], camera["K"]
    data = bpy.data.cameras.new(name)
    data.sensor_fit, data.sensor_width = "HORIZONTAL", 36.0
    data.lens = k[0] / width * data.sensor_width
    data.shift_x, data.shift_y = 0.5 - k[2] / width, (k[5] - height / 2) / width
    data.clip_start, data.clip_end = 0.01, 1000.0
    placed = bpy.data.objects.new(name, data)
    view = Matrix([camera["world_to_camera"][row : row + 4] for row in range(0, 16, 4)])
    placed.matrix_world = _UP @ view.inverted() @ _CAMERA_AXES
    scene.collection.objects.link(placed)
    return placed


def add_occluder(scene: bpy.types.Scene, centre: list[float], half: list[float]) -> None:
    """A box, in our axes, that is as transparent as the background and hides what is behind it."""
    corners = [Vector((x, y, z)) for x in (-1, 1) for y in (-1, 1) for z in (-1, 1)]
    sides = ((0, 1, 3, 2), (4, 6, 7, 5), (0, 4, 5, 1), (2, 3, 7, 6), (0, 2, 6, 4), (1, 5, 7, 3))
    mesh = bpy.data.meshes.new("occluder")
    mesh.from_pydata([corner * Vector(half) + Vector(centre) for corner in corners], [], sides)
    box = bpy.data.objects.new("occluder", mesh)
    box.matrix_world = _UP
    box.is_holdout = True
    for ray in ("diffuse", "glossy", "transmission", "shadow"):
        setattr(box, f"visible_{ray}", False)
    scene.collection.objects.link(box)


def build_character(folder: Path) -> bpy.types.Object:
    """The character that `package.write_character` left in `folder`, keyed over its frames; its armature."""
    with np.load(folder / "character.npz") as archive:
        data = {name: archive[name] for name in archive.files}
    names = tuple(str(name) for name in data["joint_names"])
    count = len(data["vertices"])
    arrays = RigArrays(
        **{key: data[key] for key in ("vertices", "faces", "uv", "face_uv", "weights", "joints", "parents")},
        joint_names=names,
        shapedirs=np.zeros((count, 3, 0)),
        expressions=np.zeros((count, 3, 0)),
        expression_names=(),
    )
    armature, body = build_rig("character", arrays)
    body.data.materials.append(_material("skin", folder / "skin.png"))
    for part in data["parts"]:
        _add_part(str(part), data, armature, folder)
    _key_motion(armature, names, data["pose"], data["transl"])
    return armature


def _add_part(name: str, data: dict[str, np.ndarray], armature: bpy.types.Object, folder: Path) -> None:
    """One garment: skinned like the body, with its wrinkles as keyed shape keys."""
    field = {key.removeprefix(f"{name}."): value for key, value in data.items() if key.startswith(f"{name}.")}
    vertices, wrinkles = field["vertices"], [str(key) for key in field["wrinkles"]]
    mesh = bpy.data.meshes.new(name)
    mesh.from_pydata(vertices.tolist(), [], field["quads"].tolist())
    mesh.polygons.foreach_set("use_smooth", np.ones(len(field["quads"]), bool))
    mesh.uv_layers.new(name="UVMap").data.foreach_set("uv", field["corner_uv"].astype(np.float32).ravel())
    mesh.materials.append(_material(name, folder / f"{name}.png"))
    garment = bpy.data.objects.new(name, mesh)
    bpy.context.scene.collection.objects.link(garment)
    for joint, weights in zip(data["joint_names"], field["weights"].T):
        group = garment.vertex_groups.new(name=str(joint))
        for vertex in np.flatnonzero(weights > 1e-4).tolist():
            group.add([vertex], float(weights[vertex]), "REPLACE")
    garment.parent = armature
    garment.modifiers.new("armature", "ARMATURE").object = armature
    if wrinkles:
        garment.shape_key_add(name="Basis", from_mix=False)
    for index, wrinkle in enumerate(wrinkles):
        key = garment.shape_key_add(name=wrinkle, from_mix=False)
        key.slider_max = 2.0
        key.data.foreach_set("co", (vertices + field["offsets"][index]).astype(np.float32).ravel())
        for frame, strength in enumerate(field["strengths"][index].tolist()):
            key.value = strength
            key.keyframe_insert("value", frame=frame)


def _material(name: str, image: Path) -> bpy.types.Material:
    """Perfectly matt: the same colour from every side."""
    material = bpy.data.materials.new(name)
    if material.node_tree is None:
        material.use_nodes = True
    nodes, links = material.node_tree.nodes, material.node_tree.links
    nodes.clear()
    texture, surface = nodes.new("ShaderNodeTexImage"), nodes.new("ShaderNodeBsdfDiffuse")
    output = nodes.new("ShaderNodeOutputMaterial")
    texture.image = bpy.data.images.load(str(image))
    texture.image.pack()
    links.new(texture.outputs["Color"], surface.inputs["Color"])
    links.new(surface.outputs[0], output.inputs["Surface"])
    return material


def _key_motion(armature: bpy.types.Object, names: tuple[str, ...], pose: np.ndarray, transl: np.ndarray) -> None:
    """Keys axis-angle poses [T, J, 3] (body axes are bone axes) and the root's translation [T, 3]."""
    scene = bpy.context.scene
    scene.frame_start, scene.frame_end = 0, len(pose) - 1
    for frame, (turns, place) in enumerate(zip(pose, transl)):
        for name, turn in zip(names, turns):
            bone, axis = armature.pose.bones[name], Vector(turn.tolist())
            bone.rotation_quaternion = Quaternion(axis.normalized(), axis.length)
            bone.keyframe_insert("rotation_quaternion", frame=frame)
        root = armature.pose.bones[names[0]]
        root.location = place.tolist()
        root.keyframe_insert("location", frame=frame)
