"""Saves long.blend: two avatars whose arms move in every frame. Arguments: the actor, a folder, how many frames."""

from __future__ import annotations

import os

import bpy
import shot

WIDTH, HEIGHT = 64, 48
SWINGS = {"tiny_rig": ("left_shoulder", 1.2), "tiny_rig.001": ("right_shoulder", -0.9)}


def main(arguments: list[str]) -> int:
    actor, folder, frames = arguments
    shot.build(actor, {**shot.DEFAULTS, "frames": int(frames), "set_up": False})
    scene = bpy.context.scene
    scene.render.resolution_x, scene.render.resolution_y = WIDTH, HEIGHT
    scene.timeline_markers.clear()
    assert bpy.ops.avatar.load_actor(filepath=actor) == {"FINISHED"}
    bpy.context.object.location.x = -0.6
    for name, (bone, angle) in SWINGS.items():
        rig = bpy.data.objects[name]
        rig.avatar.quality = "draft"
        swing(rig.pose.bones[bone], angle, int(frames))
    assert bpy.ops.avatar.setup_compositing() == {"FINISHED"}
    bpy.ops.wm.save_as_mainfile(filepath=os.path.join(folder, "long.blend"), check_existing=False)
    return 0


def swing(bone: bpy.types.PoseBone, angle: float, frames: int) -> None:
    """The same turn in every frame."""
    bpy.context.preferences.edit.keyframe_new_interpolation_type = "LINEAR"
    bone.rotation_mode = "XYZ"
    for frame, turn in ((1, -angle), (frames, angle)):
        bone.rotation_euler = (0, 0, turn)
        bone.keyframe_insert("rotation_euler", frame=frame)
