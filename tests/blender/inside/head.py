"""A head alone before nothing, and on a body. Arguments: head and body actors, and a folder for the pictures.

Prints REPORT with how many shape keys the body drives, and what was said to a body that is put on its head.
"""

from __future__ import annotations

import json
import os

import bpy
import mathutils
import shot
from values import JAW, TILT


def main(arguments: list[str]) -> int:
    head, body, folder = arguments
    _show(load_alone(head))
    _render(folder, "alone")
    carried = load_alone(head)
    assert bpy.ops.avatar.load_actor(filepath=body) == {"FINISHED"}
    rig = bpy.context.object
    rig.location = (0.2, 0.1, 0)
    rig.avatar.quality = carried.avatar.quality
    select(rig, carried)
    assert bpy.ops.avatar.attach_head() == {"FINISHED"}
    _show(rig)
    bpy.context.scene.camera.location = carried.matrix_world.translation + mathutils.Vector((0, -0.6, 0))
    _render(folder, "on_body")
    select(carried, rig)
    try:
        bpy.ops.avatar.attach_head()
        said = ""
    except RuntimeError as error:
        said = str(error)
    driven = len(carried.avatar.mesh.data.shape_keys.animation_data.drivers)
    print("REPORT " + json.dumps({"driven": driven, "said": said}), flush=True)
    return 0


def load_alone(actor: str) -> bpy.types.Object:
    """A head before a camera, and nothing behind it."""
    bpy.ops.wm.read_factory_settings(use_empty=True)
    import addon_utils

    addon_utils.enable("bl_ext.user_default.neural_avatars", default_set=True)
    scene = bpy.context.scene
    shot.configure(scene, {**shot.DEFAULTS, "frames": 1})
    shot.add_cameras(scene)
    scene.timeline_markers.clear()
    scene.render.film_transparent = True
    scene.camera.location = (0, -0.6, 0)
    assert bpy.ops.avatar.load_actor(filepath=actor) == {"FINISHED"}
    bpy.context.object.avatar.quality = "preview"
    return bpy.context.object


def _show(rig: bpy.types.Object) -> None:
    """Its head turned, its jaw open."""
    rig.pose.bones["head"].rotation_quaternion = mathutils.Quaternion((0, 1, 0), TILT)
    rig.avatar.mesh.data.shape_keys.key_blocks["expr_jawOpen"].value = JAW
    bpy.context.view_layer.update()


def select(active: bpy.types.Object, other: bpy.types.Object) -> None:
    bpy.ops.object.select_all(action="DESELECT")
    active.select_set(True)
    other.select_set(True)
    bpy.context.view_layer.objects.active = active
    bpy.context.view_layer.update()


def _render(folder: str, name: str) -> None:
    assert bpy.ops.avatar.setup_compositing() == {"FINISHED"}
    bpy.context.scene.render.filepath = os.path.join(folder, f"{name}_")
    bpy.ops.render.render(animation=True)
