"""Inside of Blender, in three acts: rigs of other makers, an armature that drives an actor, a picture of a person.

Arguments: the actor's file, the command of the worker. The extension is the staged package at the third.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
from pathlib import Path

import bpy
import numpy as np

actor, worker, package = sys.argv[1:4]
os.environ["AVATAR_WORKER"] = worker
sys.path.insert(0, str(Path(package).parent))
addon = importlib.import_module(Path(package).name)
drive = importlib.import_module(f"{addon.__name__}.drive")
pose = importlib.import_module(f"{addon.__name__}.pose")
session = importlib.import_module(f"{addon.__name__}.session")
bpy.ops.wm.read_factory_settings(use_empty=True)
addon.register()

NAMES = {
    "mixamo": ("mixamorig:Left{}", "mixamorig:Right{}", "Arm", "ForeArm", "Hand", "UpLeg", "Leg", "Foot"),
    "rigify": ("DEF-{}.L", "DEF-{}.R", "upper_arm", "forearm", "hand", "thigh", "shin", "foot"),
    "unreal": ("{}_l", "{}_r", "upperarm", "lowerarm", "hand", "thigh", "calf", "foot"),
    "smpl": ("left_{}", "right_{}", "shoulder", "elbow", "wrist", "hip", "knee", "ankle"),
}


def names(maker: str) -> list[str]:
    left, right, *bones = NAMES[maker]
    return [pattern.format(bone) for pattern in (left, right) for bone in bones]


def armature(maker: str) -> bpy.types.Object:
    """Somebody with arms stretched out who stands at the origin and looks along -y, in centimetres as FBX files are."""
    data = bpy.data.armatures.new(maker)
    made = bpy.data.objects.new(maker, data)
    bpy.context.scene.collection.objects.link(made)
    bpy.context.view_layer.objects.active = made
    bpy.ops.object.mode_set(mode="EDIT")
    _, _, *kinds = NAMES[maker]
    heads = [(20, 0, 140), (45, 0, 140), (70, 0, 140), (10, 0, 95), (10, 0, 50), (10, 0, 8)]
    tails = [(45, 0, 140), (70, 0, 140), (85, 0, 140), (10, 0, 50), (10, 0, 8), (10, -15, 2)]
    for side, pattern in zip((1, -1), NAMES[maker][:2]):
        for kind, head, tail in zip(kinds, heads, tails):
            bone = data.edit_bones.new(pattern.format(kind))
            bone.head, bone.tail = (side * head[0], *head[1:]), (side * tail[0], *tail[1:])
    for name, low, high in (("Neck", 142, 150), ("Head", 150, 175)):
        bone = data.edit_bones.new(f"mixamorig:{name}" if maker == "mixamo" else name.lower())
        bone.head, bone.tail = (0, 0, low), (0, 0, high)
    bpy.ops.object.mode_set(mode="OBJECT")
    made.scale = (0.01, 0.01, 0.01)
    return made


report: dict[str, object] = {}
schema = session.current.actor(Path(actor)).schema
report["elbows"] = [
    drive.guessed_map(drive.by_name(bones), schema["points"])["LElbow"][0][0]
    for bones in (["lowerarm_l", "upperarm_l"], ["J_Bip_L_UpperArm", "J_Bip_L_LowerArm"], names("mixamo"))
]
report["found"] = {maker: sorted(drive.guessed_map(drive.by_name(names(maker)), schema["points"])) for maker in NAMES}
fingers = [f"f_{name}.0{k}.L" for name in ("index", "pinky") for k in (1, 2, 3)] + [
    f"RightHandThumb{k}" for k in (1, 2, 3)
]
report["fingers"] = {
    joint: entry[0][:2]
    for joint, entry in drive.guessed_map(
        drive.by_name(fingers),
        [
            "LIndex1Knuckles",
            "LIndex4FingerTip",
            "LPinky2PIP",
            "RThumb1CMC",
            "RThumb4FingerTip",
            "Nose",
        ],
    ).items()
}

mixamo = armature("mixamo")
with bpy.context.temp_override(object=mixamo, active_object=mixamo):
    report["said"] = sorted(bpy.ops.avatar.drive_armature(filepath=actor))
mixamo.pose.bones["mixamorig:LeftArm"].rotation_mode = "XYZ"
bpy.context.view_layer.update()
depsgraph = bpy.context.evaluated_depsgraph_get()
report["rest"] = pose.read_controls(mixamo, None, schema, depsgraph).controls["points"]
mixamo.location = (1, 2, 0)
bpy.context.view_layer.update()
moved = pose.read_controls(mixamo, None, schema, bpy.context.evaluated_depsgraph_get())
report["moved"], report["scale"] = moved.controls["points"], moved.scale
mixamo.location = (0, 0, 0)

camera = {"width": 64, "height": 64, "K": [80, 0, 32, 0, 80, 32, 0, 0, 1], "distortion": []}
camera["world_to_camera"] = [1, 0, 0, 0, 0, -1, 0, 1, 0, 0, -1, 4, 0, 0, 0, 1]
controls = {"points": report["rest"]}
report["covered"] = float(session.current.render(Path(actor), controls, camera, "final").mask.max())

image = bpy.data.images.new("person", 90, 120)
colours = np.random.default_rng(0).random((120, 90, 4), np.float32)
image.pixels.foreach_set(np.ascontiguousarray(colours).ravel())
mixamo.avatar.appearance = image
with bpy.context.temp_override(object=mixamo, active_object=mixamo):
    report["looked"] = sorted(bpy.ops.avatar.read_appearance())
bpy.context.view_layer.update()
posed = pose.read_controls(mixamo, None, schema, bpy.context.evaluated_depsgraph_get()).controls
report["appearance"] = posed["appearance"]
report["picture"] = float(
    np.abs(
        np.round(colours[::-1][15:105, :, :3].mean((0, 1)) * 255)
        - importlib.import_module(f"{addon.__name__}.wardrobe").picture(image).mean((0, 1))
    ).max()
)

mixamo.avatar.joint_map = '{"LWrist": [["gone", 0, 1]]}'
try:
    pose.read_controls(mixamo, None, schema, bpy.context.evaluated_depsgraph_get())
except Exception as error:
    report["lost"] = str(error)
session.current.close()
print("REPORT " + json.dumps(report), flush=True)
os._exit(0)
