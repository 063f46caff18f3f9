# SPDX-License-Identifier: GPL-3.0-or-later
"""A character's own armature poses a body of SMPL's joints: Mixamo, Rigify, Unreal, MakeHuman, whatever its rest pose.

For each joint: the bone that poses it, and the turn from the body's limb to the character's at rest. A bone's turn in
the armature, G = posed rest^-1, then is the joint's once the limbs coincide: G (limb of the character) = G A (limb of
the body). The body is as much larger as the character's legs are longer, and its hips are where the character's are.
All of it is found once, when an actor is chosen, and kept as JSON on the armature.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass

import bpy
import numpy as np

from .coordinates import rigid, world_from_blender
from .drive import finger_bones, segment, told_bones
from .errors import SceneError

_SIDES = (("L", "left"), ("R", "right"))
_LIMBS = {
    "shoulder": "upper_arm",
    "elbow": "forearm",
    "wrist": "hand",
    "hip": "thigh",
    "knee": "shin",
    "ankle": "foot",
    "foot": "toes",
}
_NEXT = {"shoulder": "elbow", "elbow": "wrist", "hip": "knee", "knee": "ankle"}  # where a limb ends
_AS = {"wrist": "elbow"}  # hands and fingers are turned as the forearm is
_FINGERS = ("index", "middle", "pinky", "ring", "thumb")
_SPINES = {1: ("spine2",), 2: ("spine1", "spine3")}  # where there are fewer than three bones


@dataclass(frozen=True)
class Retarget:
    """axes: [3, 3], columns are the body's axes in the armature. scale: body to armature units. hips: [3] from the
    body's pelvis to the middle of its hips, at rest. align: rows of [3, 3] for each bone."""

    joints: list[str]
    parents: list[int]
    bones: dict[str, str]
    align: dict[str, list[float]]
    axes: list[float]
    scale: float
    pelvis: list[float]
    hips: list[float]

    def to_json(self) -> str:
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str, armature: bpy.types.Object, joints: Sequence[str]) -> Retarget:
        """Raises SceneError for text that is none, for another actor's, and for bones that the armature lacks."""
        try:
            made = cls(**json.loads(text))
            sized = all(len(np.array(made.align[joint], float)) == 9 for joint in made.bones)
            fits = made.joints == list(joints) and sized and len(made.parents) == len(joints)
            fits &= {"left_hip", "right_hip", "pelvis"} <= set(made.bones) <= set(joints)
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
            fits = False
        if not fits:
            raise SceneError(
                f"The bone map of '{armature.name}' is another actor's: press Drive Actor with This Armature once more."
            )
        lost = [bone for bone in made.bones.values() if bone not in armature.pose.bones]
        if lost:
            raise SceneError(
                f"Armature '{armature.name}' lacks the bone '{lost[0]}': press Drive Actor with This Armature once"
                " more."
            )
        return made


def find(
    armature: bpy.types.Object,
    joints: Sequence[str],
    parents: np.ndarray,
    rest: np.ndarray,
    bones: dict[str, str] | None = None,
) -> Retarget:
    """How `armature` poses a body with these joints at `rest` [J, 3] metres; bones: of the joints, told by their names
    where none are given. Raises SceneError."""
    bones = guessed_bones(armature, joints) if bones is None else bones
    needed = [joint for joint in ("left_hip", "right_hip", "left_knee", "left_ankle", "head") if joint not in bones]
    if needed or "pelvis" not in bones:
        lacking = (needed or ["pelvis"])[0].replace("_", " ")
        raise SceneError(
            f"No bone of '{armature.name}' is named like a {lacking}: say in Pose Mode which it is (tab Avatar, Active"
            " Bone Is), and choose again."
        )
    heads = {joint: np.array(armature.data.bones[bone].head_local, np.float64) for joint, bone in bones.items()}
    body = dict(zip(joints, rest.astype(np.float64)))
    axes = _axes(heads)
    align = {}
    for joint in bones:
        side, _, limb = joint.rpartition("_")
        limb = _AS.get(limb, "elbow" if limb.rstrip("123") in _FINGERS else limb)
        start, end = f"{side}_{limb}", f"{side}_{_NEXT.get(limb, '')}"
        turn = np.eye(3)
        if start in heads and end in heads:
            turn = _turn(body[end] - body[start], axes.T @ (heads[end] - heads[start]))
        align[joint] = turn.ravel().tolist()
    legs = [
        sum(np.linalg.norm(at[b] - at[a]) for a, b in (("left_hip", "left_knee"), ("left_knee", "left_ankle")))
        for at in (heads, body)
    ]
    hips = (body["left_hip"] + body["right_hip"]) / 2 - body["pelvis"]
    known = (bones, align, axes.ravel().tolist(), float(legs[0] / legs[1]), body["pelvis"].tolist(), hips.tolist())
    return Retarget(list(joints), [int(p) for p in parents], *known)


def joint_rotations(armature: bpy.types.Object, found: Retarget) -> tuple[np.ndarray, np.ndarray, float]:
    """Rotations against the parent joint [J, 3, 3], SMPL's translation [3], and the scale of their world.

    armature: evaluated. Joints without a bone turn with their parents.
    """
    world, scale = world_from_blender(np.array(armature.matrix_world, np.float64), armature.name)
    axes = np.array(found.axes).reshape(3, 3)
    turned = np.empty((len(found.joints), 3, 3))
    for i, joint in enumerate(found.joints):
        if joint in found.bones:
            bone = armature.pose.bones[found.bones[joint]]
            pair = rigid(np.array([bone.matrix, bone.bone.matrix_local], np.float64))[:, :3, :3]
            turned[i] = axes.T @ pair[0] @ pair[1].T @ axes @ np.array(found.align[joint]).reshape(3, 3)
        else:
            turned[i] = turned[found.parents[i]] if found.parents[i] >= 0 else np.eye(3)
    local = [turned[p].T @ turned[i] if p >= 0 else turned[i] for i, p in enumerate(found.parents)]
    rotations = np.array(local)
    rotations[0] = world[:3, :3] @ axes @ turned[0]
    thighs = [armature.pose.bones[found.bones[joint]].head for joint in ("left_hip", "right_hip")]
    middle = (world[:3, :3] @ np.mean(np.array(thighs, np.float64), 0) + world[:3, 3]) / found.scale
    transl = middle - rotations[0] @ np.array(found.hips) - np.array(found.pelvis)
    return rotations, transl, scale * found.scale


def guessed_bones(armature: bpy.types.Object, joints: Sequence[str]) -> dict[str, str]:
    """Bones by the joints that they pose: limbs by their names, the trunk as the bones between hips and head."""
    found = told_bones(armature)
    bones: dict[str, str] = {}
    for side, word in _SIDES:
        for joint, part in _LIMBS.items():
            bone = segment(found, side, part)
            if bone is not None:
                bones[f"{word}_{joint}"] = bone
        collar = segment(found, side, "collar")
        if collar is not None and collar != bones.get(f"{word}_shoulder"):
            bones[f"{word}_collar"] = collar
    for (side, finger, number), bone in finger_bones(found).items():
        bones[f"{dict(_SIDES)[side]}_{finger.lower()}{number}"] = bone
    counted = max(
        (name for (side, base), name in found.items() if not side and re.fullmatch(r"spine\d{3}", base)), default=None
    )  # Rigify counts its spine up to the head, and calls a control bone 'head'
    deforms = counted is not None and counted.upper().startswith("DEF-")
    head = counted if deforms else segment(found, "", "head") or counted
    if head is not None and "left_hip" in bones and "right_hip" in bones:
        bones |= _trunk(armature, head, segment(found, "", "neck"), [bones["left_hip"], bones["right_hip"]])
    return {joint: bones[joint] for joint in joints if joint in bones}


def _trunk(armature: bpy.types.Object, head: str, neck: str | None, thighs: Sequence[str]) -> dict[str, str]:
    """The pelvis is the bone below the head that starts closest to the hips."""
    rest = armature.data.bones
    middle = sum((rest[thigh].head_local for thigh in thighs[1:]), rest[thighs[0]].head_local.copy()) / len(thighs)
    chain = list(rest[head].parent_recursive)  # from the head down
    if not chain:
        return {}
    pelvis = min(chain, key=lambda bone: (bone.head_local - middle).length)
    between = [bone.name for bone in reversed(chain[: chain.index(pelvis)])]
    first = between.index(neck) if neck in between else len(between) - 1
    spines = between[: max(first, 0)]
    found = {"pelvis": pelvis.name, "head": head}
    if between:
        found["neck"] = between[max(first, 0)]
    names = _SPINES.get(len(spines), ("spine1", "spine2", "spine3"))
    picked = np.round(np.linspace(0, len(spines) - 1, len(names))).astype(int) if spines else []
    return found | {name: spines[i] for name, i in zip(names, picked)}


def _axes(heads: dict[str, np.ndarray]) -> np.ndarray:
    """[3, 3]: left, up and forward of the character in its armature, along the armature's axes."""
    left = _nearest(heads["left_hip"] - heads["right_hip"])
    up = _nearest(heads["head"] - heads["pelvis"])
    return np.stack([left, up, np.cross(left, up)], 1)


def _nearest(direction: np.ndarray) -> np.ndarray:
    axis = np.zeros(3)
    largest = int(np.abs(direction).argmax())
    axis[largest] = np.sign(direction[largest])
    return axis


def _turn(start: np.ndarray, end: np.ndarray) -> np.ndarray:
    """[3, 3]: the smallest rotation from one direction to another, for less than half a turn."""
    a, b = start / np.linalg.norm(start), end / np.linalg.norm(end)
    v, cosine = np.cross(a, b), float(a @ b)
    cross = np.array([[0, -v[2], v[1]], [v[2], 0, -v[0]], [-v[1], v[0], 0]])
    return np.eye(3) + cross + cross @ cross / (1 + max(cosine, -0.999))
