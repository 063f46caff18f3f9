"""What the picture of a head in Blender shows. Arguments: head and body actors, and a folder.

alone_0001.png has alpha; body_0001.png is the body without the head, on_body_0001.png with it, in a set.
"""

from __future__ import annotations

import os

import bpy
import head
import mathutils

SIDE = 384
TURN = mathutils.Quaternion((0, 1, 0), 0.3) @ mathutils.Quaternion((1, 0, 0), 0.1)
KEYS = {"jawOpen": 0.6, "mouthSmileLeft": 1.0, "mouthSmileRight": 1.0, "browInnerUp": 0.8}


def main(arguments: list[str]) -> int:
    actor, body, folder = arguments
    carried = head.load_alone(actor)
    _settle()
    _render(folder, "alone", (0, -0.5, 0))
    assert bpy.ops.avatar.load_actor(filepath=body) == {"FINISHED"}
    rig = bpy.context.object
    head.select(rig, carried)
    assert bpy.ops.avatar.attach_head() == {"FINISHED"}
    rig.pose.bones["head"].rotation_quaternion = TURN
    blocks = rig.avatar.mesh.data.shape_keys.key_blocks
    for name, value in KEYS.items():
        blocks[f"expr_{name}"].value = value
    bpy.context.view_layer.update()
    _set()
    view = carried.matrix_world.translation + mathutils.Vector((0, -0.8, -0.08))
    carried.hide_render = True
    _render(folder, "body", view)
    carried.hide_render = False
    _render(folder, "on_body", view)
    return 0


def _settle() -> None:
    render = bpy.context.scene.render
    render.resolution_x = render.resolution_y = SIDE
    render.image_settings.file_format, render.image_settings.color_mode = "PNG", "RGBA"
    render.image_settings.color_depth = "8"
    bpy.context.scene.cycles.samples = 16
    bpy.context.scene.view_settings.view_transform = "Standard"
    for rig in (found for found in bpy.context.scene.objects if found.avatar.actor_path):
        rig.avatar.quality = "final"


def _set() -> None:
    """A grey room, and a ring that the neck goes through."""
    bpy.context.scene.render.film_transparent = False
    bpy.context.scene.world.node_tree.nodes["Background"].inputs[0].default_value = (0.5, 0.5, 0.5, 1)
    rig = next(found for found in bpy.context.scene.objects if found.avatar.actor_path and "neck" in found.pose.bones)
    place = rig.matrix_world @ rig.pose.bones["neck"].head
    bpy.ops.mesh.primitive_torus_add(location=place, major_radius=0.13, minor_radius=0.015, rotation=(0.3, 0.1, 0))
    red = bpy.data.materials.new("red")
    red.diffuse_color = (0.8, 0.05, 0.05, 1)
    if bpy.app.version < (5, 0, 0):
        red.use_nodes = True
    red.node_tree.nodes["Principled BSDF"].inputs["Base Color"].default_value = (0.8, 0.05, 0.05, 1)
    bpy.context.object.data.materials.append(red)


def _render(folder: str, name: str, place: mathutils.Vector) -> None:
    bpy.context.scene.camera.location = place
    assert bpy.ops.avatar.setup_compositing() == {"FINISHED"}
    bpy.context.scene.render.filepath = os.path.join(folder, f"{name}_")
    bpy.ops.render.render(animation=True)
