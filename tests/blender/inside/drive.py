"""In four acts: bones of other makers, an armature that drives an actor, a picture of a person, limbs as a pass.

Argument: the actor's file. Prints a line REPORT with JSON.
"""

from __future__ import annotations

import json
from importlib import import_module
from pathlib import Path
from typing import Any

import bpy
import numpy as np
from pictures import ADDON, still

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


def main(arguments: list[str]) -> int:
    actor = Path(arguments[0])
    bpy.ops.wm.read_homefile(use_empty=True, use_factory_startup=True)
    session = part("session").current
    points = session.actor(actor).schema["points"]
    character = armature("mixamo")
    report = {**known_names(points), **driven(character, actor), **dressed(character, actor), **limbs(character)}
    character.avatar.joint_map = '{"LWrist": [["gone", 0, 1]]}'
    try:
        controls(character, actor)
    except part("errors").SceneError as error:
        report["lost"] = str(error)
    session.close()
    print("REPORT " + json.dumps(report), flush=True)
    return 0


def known_names(points: list[str]) -> dict[str, Any]:
    """What bones of several makers are taken for."""
    drive = part("drive")

    def guessed(bones: list[str], joints: list[str] = points) -> dict[str, Any]:
        return drive.guessed_map(drive.by_name(bones), joints)

    kinds = (["lowerarm_l", "upperarm_l"], ["J_Bip_L_UpperArm", "J_Bip_L_LowerArm"], names("mixamo"))
    bones = [f"f_{name}.0{k}.L" for name in ("index", "pinky") for k in (1, 2, 3)]
    bones += [*(f"RightHandThumb{k}" for k in (1, 2, 3)), "finger2-1.R", "finger5-3.R"]  # the last two are MakeHuman's
    joints = ["LIndex1Knuckles", "LIndex4FingerTip", "LPinky2PIP", "RThumb1CMC", "RThumb4FingerTip", "Nose"]
    joints += ["RIndex1Knuckles", "RPinky4FingerTip"]
    return {
        "elbows": [guessed(kind)["LElbow"][0][0] for kind in kinds],
        "found": {maker: sorted(guessed(names(maker))) for maker in NAMES},
        "fingers": {joint: entry[0][:2] for joint, entry in guessed(bones, joints).items()},
    }


def driven(character: bpy.types.Object, actor: Path) -> dict[str, Any]:
    said = sorted(bpy.ops.avatar.drive_armature(filepath=str(actor)))
    rest = controls(character, actor).controls["points"]
    character.location = (1, 2, 0)
    moved = controls(character, actor)
    character.location = (0, 0, 0)
    return {"said": said, "rest": rest, "moved": moved.controls["points"], "scale": moved.scale}


def dressed(character: bpy.types.Object, actor: Path) -> dict[str, Any]:
    """A picture says whom the avatar looks like."""
    image = bpy.data.images.new("person", 90, 120)
    colours = np.random.default_rng(0).random((120, 90, 4), np.float32)
    image.pixels.foreach_set(np.ascontiguousarray(colours).ravel())
    character.avatar.appearance = image
    looked = sorted(bpy.ops.avatar.read_appearance())
    middle = np.round(colours[::-1][15:105, :, :3].mean((0, 1)) * 255)
    off = float(np.abs(middle - part("wardrobe").picture(image).mean((0, 1))).max())
    return {"looked": looked, "appearance": controls(character, actor).controls["appearance"], "picture": off}


def limbs(character: bpy.types.Object) -> dict[str, Any]:
    """The numbers of the pass Limb where the avatar is seen, as the compositor gets them."""
    scene = bpy.context.scene
    scene.render.engine, scene.render.resolution_x, scene.render.resolution_y = "CYCLES", 64, 64
    scene.cycles.samples, scene.cycles.use_denoising = 1, False
    camera = bpy.data.objects.new("camera", bpy.data.cameras.new("camera"))
    scene.collection.objects.link(camera)
    camera.location, camera.rotation_euler, scene.camera = (0, -4, 1), (np.pi / 2, 0, 0), camera
    assert bpy.ops.avatar.setup_compositing() == {"FINISHED"}
    layer = part("compositor").avatar_layer(scene)
    limb, alpha = (still(scene, layer.outputs[name])[..., 0] for name in ("Limb", "Alpha"))
    return {"limbs": [int(number) for number in np.unique(limb[alpha > 0])], "covered": float(alpha.max())}


def controls(character: bpy.types.Object, actor: Path) -> Any:
    bpy.context.view_layer.update()
    schema = part("session").current.actor(actor).schema
    return part("pose").read_controls(character, None, schema, bpy.context.evaluated_depsgraph_get())


def part(name: str) -> Any:
    return import_module(f"{ADDON}.{name}")
