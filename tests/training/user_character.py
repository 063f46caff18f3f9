"""Runs inside of bpy: writes a .blend file of a bent tentacle, as a user might have one: `SCRIPT FILE`.

Z up, turned about z, scaled by 2; three bones that do not point along any axis of the body; a hat that hangs
on the last bone, which a constraint turns; a floor and a lamp that are not part of the character.
"""

from __future__ import annotations

import math
import os
import sys

import bpy
import numpy as np

RINGS, SIDES = 13, 8


def main(path: str) -> None:
    bpy.ops.wm.read_factory_settings(use_empty=True)
    armature = add_armature()
    add_skin(armature)
    add_hat(armature)
    bpy.ops.mesh.primitive_plane_add(size=9, location=(0, 0, -0.1))
    bpy.ops.object.light_add(type="SUN")
    scene = bpy.context.scene
    scene.frame_start, scene.frame_end = 10, 40
    armature.location, armature.rotation_euler, armature.scale = (0.3, -0.2, 0.1), (0, 0, 0.7), (2, 2, 2)
    for frame, angle in ((10, 0.0), (40, 0.9)):
        low, middle = armature.pose.bones["low"], armature.pose.bones["middle"]
        low.rotation_mode = middle.rotation_mode = "XYZ"
        low.rotation_euler, middle.rotation_euler = (0.3 * angle, angle, 0), (angle, 0, 0.5 * angle)
        low.location = (0, 0.2 * angle, 0.1 * angle)
        for name in ("rotation_euler", "location"):
            low.keyframe_insert(name, frame=frame)
            middle.keyframe_insert(name, frame=frame)
    copy = armature.pose.bones["high"].constraints.new("COPY_ROTATION")
    copy.target, copy.subtarget = armature, "low"
    bpy.ops.wm.save_as_mainfile(filepath=path)


def add_armature() -> bpy.types.Object:
    data = bpy.data.armatures.new("Rig")
    armature = bpy.data.objects.new("Rig", data)
    bpy.context.scene.collection.objects.link(armature)
    bpy.context.view_layer.objects.active = armature
    bpy.ops.object.mode_set(mode="EDIT")
    parent = None
    for name, low, high in (("low", 0.0, 0.3), ("middle", 0.3, 0.6), ("high", 0.6, 0.9)):
        bone = data.edit_bones.new(name)
        bone.head, bone.tail, bone.roll = (0, 0, low), (0.02, 0.03, high), 0.4
        bone.parent, parent = parent, bone
    control = data.edit_bones.new("control")
    control.head, control.tail, control.use_deform = (1, 0, 0), (1, 0, 1), False
    bpy.ops.object.mode_set(mode="OBJECT")
    return armature


def add_skin(armature: bpy.types.Object) -> None:
    height, turn = np.meshgrid(np.linspace(0, 0.9, RINGS), np.arange(SIDES) * 2 * math.pi / SIDES, indexing="ij")
    points = np.stack([0.08 * np.cos(turn), 0.08 * np.sin(turn), height], -1).reshape(-1, 3)
    low, side = np.meshgrid(np.arange(RINGS - 1) * SIDES, np.arange(SIDES), indexing="ij")
    after = (side + 1) % SIDES
    quads = np.stack([low + side, low + after, low + SIDES + after, low + SIDES + side], -1).reshape(-1, 4)
    mesh = bpy.data.meshes.new("Skin")
    mesh.from_pydata(points.tolist(), [], [*quads.tolist(), list(range((RINGS - 1) * SIDES, RINGS * SIDES))])
    skin = bpy.data.objects.new("Skin", mesh)
    bpy.context.scene.collection.objects.link(skin)
    for index, name in enumerate(("low", "middle", "high")):
        group = skin.vertex_groups.new(name=name)
        share = 1 - np.abs(points[:, 2] / 0.3 - index - 0.5)
        for vertex in range(len(points)):
            group.add([vertex], float(share[vertex].clip(0.01, 1)), "REPLACE")
    skin.parent = armature
    skin.modifiers.new("Armature", "ARMATURE").object = armature
    skin.shape_key_add(name="Basis")


def add_hat(armature: bpy.types.Object) -> None:
    bpy.ops.mesh.primitive_cube_add(size=0.25)
    hat = bpy.context.object
    hat.name = "Hat"
    hat.parent, hat.parent_type, hat.parent_bone = armature, "BONE", "high"


if __name__ == "__main__":
    main(sys.argv[1])
    sys.stdout.flush()
    os._exit(0)  # the bpy module may hang when the interpreter ends
