"""Characters of other makers pose a body of SMPL's joints.

Argument: the actor's file. Prints a line REPORT with JSON.
"""

from __future__ import annotations

import json
import math
from importlib import import_module
from pathlib import Path
from typing import Any

import bpy
import mathutils
import numpy as np
from pictures import ADDON

SPINES = {
    "mixamo": ("Hips", "Spine", "Spine1", "Spine2", "Neck", "Head"),
    "rigify": ("spine", *(f"spine.00{i}" for i in range(1, 7))),
}
LIMBS = {
    "mixamo": (
        "mixamorig:{}{}",
        ("Left", "Right"),
        ("Shoulder", "Arm", "ForeArm", "Hand", "UpLeg", "Leg", "Foot", "ToeBase"),
    ),
    "rigify": ("DEF-{1}.{0}", "LR", ("shoulder", "upper_arm", "forearm", "hand", "thigh", "shin", "foot", "toe")),
}
FINGERS = {"mixamo": "mixamorig:{}Hand{}{}", "rigify": "DEF-{3}.0{2}.{0}"}
KINDS = {"thumb": "thumb", "index": "f_index", "middle": "f_middle", "ring": "f_ring", "pinky": "f_pinky"}  # Rigify's
JOINTS = ("collar", "shoulder", "elbow", "wrist", "hip", "knee", "ankle", "foot")
DROP = math.radians(40)  # of the arms at rest, below the body's own


def character(maker: str, rest: dict[str, np.ndarray]) -> bpy.types.Object:
    """Somebody of 1.3 times the body's size, arms lower at rest, bones of any roll, looking along -y, in cm."""
    data = bpy.data.armatures.new(maker)
    made = bpy.data.objects.new(maker, data)
    bpy.context.scene.collection.objects.link(made)
    bpy.context.view_layer.objects.active = made
    bpy.ops.object.mode_set(mode="EDIT")

    def bone(name: str, at: np.ndarray, parent: str | None, along: np.ndarray) -> str:
        edit = data.edit_bones.new(name)
        edit.head, edit.tail = 130 * blender(at), 130 * blender(at + 0.08 * along / np.linalg.norm(along))
        edit.roll = len(name) % 7
        edit.parent = data.edit_bones[parent] if parent else None
        return name

    if maker == "rigify":  # controls have bones beside those that deform
        torso = bone("torso", rest["pelvis"], None, np.array([0, 0, -1.0]))
        bone("head", rest["head"], torso, np.array([0, 1, 0.1]))
    prefix = "mixamorig:" if maker == "mixamo" else "DEF-"
    trunk = SPINES[maker]
    heights = np.linspace(0, 1, len(trunk))
    above = None
    places = []
    for name, height in zip(trunk, heights):
        at = (1 - height) * rest["pelvis"] + height * rest["head"]
        above = bone(prefix + name, at, above, np.array([0, 1, 0.1]))
        places.append(above)
    form, sides, names = LIMBS[maker]
    for word, side, sign in zip(("left", "right"), sides, (1, -1)):
        last = None
        for joint, name in zip(JOINTS, names):
            at = rest[f"{word}_{joint}"].copy()
            if joint in ("elbow", "wrist"):
                at = lowered(rest, word, at)
            parent = places[-3] if joint == "collar" else places[0] if joint == "hip" else last
            last = bone(form.format(side, name), at, parent, np.array([sign, -0.5, 0.2]))
            if joint == "wrist":
                for finger in KINDS:
                    knuckle = last
                    for number in (1, 2, 3):
                        at = lowered(rest, word, rest[f"{word}_{finger}{number}"])
                        knuckle = bone(finger_bone(maker, side, finger, number), at, knuckle, np.array([sign, 0.3, 0]))
    bpy.ops.object.mode_set(mode="OBJECT")
    made.scale = (0.01, 0.01, 0.01)
    return made


def finger_bone(maker: str, side: str, finger: str, number: int) -> str:
    return FINGERS[maker].format(side, finger.capitalize(), number, KINDS[finger])


def lowered(rest: dict[str, np.ndarray], word: str, at: np.ndarray) -> np.ndarray:
    """A place of the body's arm, where the character's is at rest."""
    pivot = rest[f"{word}_shoulder"]
    return pivot + turn_z(DROP if word == "right" else -DROP) @ (at - pivot)


def blender(point: np.ndarray) -> np.ndarray:
    return np.array([point[0], -point[2], point[1]])


def turn_z(angle: float) -> np.ndarray:
    return np.array(mathutils.Matrix.Rotation(angle, 3, "Z"))


def main(arguments: list[str]) -> int:
    actor = Path(arguments[0])
    bpy.ops.wm.read_homefile(use_empty=True, use_factory_startup=True)
    session = import_module(f"{ADDON}.session").current
    schema, (_, arrays) = session.actor(actor).schema, session.body(actor)
    rest = dict(zip(schema["joints"], arrays["joints"].astype(float)))
    report: dict[str, Any] = {maker: driven(maker, rest, actor, schema) for maker in SPINES}
    report["told"] = told()
    bare = bpy.data.objects.new("bare", bpy.data.armatures.new("bare"))
    bpy.context.scene.collection.objects.link(bare)
    bpy.context.view_layer.objects.active = bare
    try:
        bpy.ops.avatar.drive_armature(filepath=str(actor))
    except RuntimeError as error:
        report["refused"] = str(error)
    session.close()
    print("REPORT " + json.dumps(report), flush=True)
    return 0


def driven(maker: str, rest: dict[str, np.ndarray], actor: Path, schema: dict[str, Any]) -> dict[str, Any]:
    """What the actor is told of a character at rest and in a wild pose, and where the character's joints are then."""
    made = character(maker, rest)
    said = sorted(bpy.ops.avatar.drive_armature(filepath=str(actor)))
    at_rest, scale = controls(made, schema)
    form, sides, names = LIMBS[maker]
    generator = np.random.default_rng(5)
    for bone in made.pose.bones:
        bone.rotation_mode = "QUATERNION"
        bone.rotation_quaternion = mathutils.Euler(generator.normal(0, 0.3, 3)).to_quaternion()
    made.location, made.rotation_euler = (0.5, -1, 0.2), (0, 0, 0.7)
    posed, _ = controls(made, schema)
    heads = {
        f"{word}_{joint}": made.matrix_world @ made.pose.bones[form.format(side, name)].head
        for word, side in zip(("left", "right"), sides)
        for joint, name in zip(JOINTS, names)
    }
    for word, side in zip(("left", "right"), sides):
        for finger in KINDS:
            for number in (1, 2, 3):
                bone = made.pose.bones[finger_bone(maker, side, finger, number)]
                heads[f"{word}_{finger}{number}"] = made.matrix_world @ bone.head
    places = {joint: [head.x, head.z, -head.y] for joint, head in heads.items()}  # avatar_core's world
    bones = json.loads(made.avatar.joint_map)["bones"]
    return {"said": said, "bones": bones, "rest": at_rest, "scale": scale, "posed": posed, "heads": places}


def told() -> list[dict[str, str]]:
    """The bones of a finger as found before, without names that say something, and as the artist says."""
    made = bpy.data.objects["mixamo"]
    bpy.context.view_layer.objects.active = made
    found = [json.loads(made.avatar.joint_map)["bones"]]
    for number in (1, 2, 3):
        made.data.bones[finger_bone("mixamo", "Left", "index", number)].name = f"B{number}"
    assert bpy.ops.avatar.apply_bone_map(bone_map="BY_NAMES") == {"FINISHED"}
    found.append(json.loads(made.avatar.joint_map)["bones"])
    bpy.ops.object.mode_set(mode="POSE")
    for number in (1, 2, 3):
        made.data.bones.active = made.data.bones[f"B{number}"]
        assert bpy.ops.avatar.tell_bone(part=f"index_{number}.L") == {"FINISHED"}
    bpy.ops.object.mode_set(mode="OBJECT")
    return [*found, json.loads(made.avatar.joint_map)["bones"]]


def controls(made: bpy.types.Object, schema: dict[str, Any]) -> tuple[dict[str, Any], float]:
    bpy.context.view_layer.update()
    read = import_module(f"{ADDON}.pose").read_controls
    seen = read(made, None, schema, bpy.context.evaluated_depsgraph_get())
    return seen.controls, seen.scale
