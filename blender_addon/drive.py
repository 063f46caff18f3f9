# SPDX-License-Identifier: GPL-3.0-or-later
"""Any armature to the places that drive an actor: which bones give which joint, told by their names.

Names of Rigify, Mixamo, Unreal, VRM and SMPL are known; of other bones the artist says what they are, which is kept on
them. A map is JSON, {joint: [[bone, place, weight], …]}: a mean of places on bones, 0 the head and 1 the tail; artists
may change it. Joints that it leaves out stay unknown, and limbs that need them are not drawn.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from typing import Any

import bpy
import numpy as np

from .coordinates import FROM_BLENDER
from .errors import SceneError

_SEGMENTS = {
    "upper_arm": ("upperarm", "uparm", "arm", "shoulder"),
    "forearm": ("forearm", "lowerarm", "lowarm", "elbow"),
    "hand": ("wrist", "hand"),
    "thigh": ("thigh", "upleg", "upperleg", "hip"),
    "shin": ("shin", "calf", "lowerleg", "lowleg", "knee", "leg"),
    "foot": ("ankle", "foot"),
    "toes": ("toebase", "toe", "toes", "ball"),
    "collar": ("clavicle", "collar", "shoulder"),
    "neck": ("neck",),
    "head": ("head",),
}  # what bones are called, the first that is there
_ENDS = {
    "Shoulder": (("upper_arm", 0.0),),
    "Elbow": (("forearm", 0.0), ("upper_arm", 1.0)),
    "Wrist": (("hand", 0.0), ("forearm", 1.0)),
    "Hip": (("thigh", 0.0),),
    "Knee": (("shin", 0.0), ("thigh", 1.0)),
    "Ankle": (("foot", 0.0), ("shin", 1.0)),
    "Foot": (("foot", 0.0), ("shin", 1.0)),
}  # joints of a side: the first segment that is there, and where on it
_FINGERS = ("thumb", "index", "middle", "ring", "pinky")  # finger1 to finger5 at MakeHuman
_FINGER = re.compile(
    r"(?:hand|f)?(thumb|index|middle|ring|pinky|little|finger[1-5])(proximal|intermediate|distal)?(\d*)$"
)
_PHALANX = {"proximal": 1, "intermediate": 2, "distal": 3}
_PREFIX = re.compile(r"^(?:.*:|def-|org-|mixamorig\d*_?|bip\d*[ _]|j_bip_(?:c_)?|j_)", re.IGNORECASE)
_LEFT_RIGHT = re.compile(
    r"^(left|right)[ _.-]?(?=[a-z])|^([lr])[ _.-](?=[a-z])|^(?-i:([lrLR])(?=[A-Z]))"
    r"|[ _.-](left|right|l|r)(?=[ _.-]?\d*$)",
    re.IGNORECASE,
)  # LeftArm, l_arm, lArm, arm.L, arm_l.001
_SHOWN = 6
_PART = "avatar_part"  # custom property of a bone: what the artist says that it is, upper_arm.L

PARTS = tuple(
    f"{part}{side}" for part in _SEGMENTS for side in (("",) if part in ("neck", "head") else (".L", ".R"))
)  # of the body, which bones can be said to be
FINGER_PARTS = tuple(f"{finger}_{number}.{side}" for side in "LR" for finger in _FINGERS for number in (1, 2, 3))

Points = list[tuple[str, float, float]]  # bone, place on it, weight
JointMap = dict[str, Points]


def guessed_map(found: dict[tuple[str, str], str], joints: Sequence[str]) -> JointMap:
    """Of the joints that these bones, see `by_name`, can give."""
    places = _limbs(found) | _middle(found, "Sternum" in joints) | _fingers(found)
    return {joint: places[joint] for joint in joints if joint in places}


def by_name(bones: Iterable[str]) -> dict[tuple[str, str], str]:
    """Bones by side ('L', 'R' or '') and plain name; of several with the same, the one that deforms, the shortest."""
    found: dict[tuple[str, str], str] = {}
    for name in sorted(bones, key=lambda name: (not name.upper().startswith("DEF-"), len(name))):
        found.setdefault(_side_and_base(name), name)
    return found


def told_bones(armature: bpy.types.Object) -> dict[tuple[str, str], str]:
    """As `by_name`; what the artist says of a bone counts more than its name, and comes first."""
    said: dict[tuple[str, str], str] = {}
    for bone in armature.data.bones:
        part, _, side = str(bone.get(_PART, "")).partition(".")
        if f"{part}.{side}" in FINGER_PARTS:
            said[side, part.replace("_", "")] = bone.name
        elif part in _SEGMENTS and side in ("", "L", "R"):
            said[side, _SEGMENTS[part][0]] = bone.name
    named = by_name(bone.name for bone in armature.data.bones if bone.name not in said.values())
    return said | {key: name for key, name in named.items() if key not in said}


def tell(armature: bpy.types.Object, name: str, part: str) -> None:
    """Says that the bone `name`, and no other, is a part (one of PARTS or FINGER_PARTS); empty: what its name says."""
    for bone in armature.data.bones:
        if _PART in bone and (bone.name == name or bone[_PART] == part):
            del bone[_PART]
    if part:
        armature.data.bones[name][_PART] = part


def has_fingers(schema: dict[str, Any]) -> bool:
    """Whether an actor has joints, or follows places, of fingers."""
    return any("index" in name.lower() for name in (*schema["joints"], *schema.get("points", ())))


def read_map(text: str, armature: bpy.types.Object) -> JointMap:
    """Raises SceneError for text that is no map, and for bones that the armature lacks."""
    try:
        data = json.loads(text)
        places = {
            str(joint): [(str(bone), float(place), float(weight)) for bone, place, weight in entry]
            for joint, entry in data.items()
        }
    except (ValueError, TypeError, AttributeError, RecursionError) as error:
        raise SceneError(
            f"The bone map of '{armature.name}' is damaged: press Drive Actor with This Armature once more."
        ) from error
    lost = sorted({bone for entry in places.values() for bone, _, _ in entry if bone not in armature.pose.bones})
    if lost:
        shown = ", ".join(lost[:_SHOWN]) + (", …" if len(lost) > _SHOWN else "")
        raise SceneError(
            f"Armature '{armature.name}' lacks bones of its bone map ({shown}): press Drive Actor with This Armature"
            " once more."
        )
    return places


def joint_points(armature: bpy.types.Object, places: JointMap, joints: Sequence[str]) -> list[list[float] | None]:
    """Where joints are in avatar_core's world (metres), None for those that the map leaves out; armature: evaluated."""
    world = FROM_BLENDER @ np.array(armature.matrix_world, np.float64)
    found: list[list[float] | None] = []
    for joint in joints:
        place = sum((weight * _on(armature, bone, share) for bone, share, weight in places.get(joint, ())), np.zeros(3))
        found.append((world[:3, :3] @ place + world[:3, 3]).tolist() if places.get(joint) else None)
    return found


def _on(armature: bpy.types.Object, bone: str, share: float) -> Any:
    posed = armature.pose.bones[bone]
    return (1 - share) * np.array(posed.head, np.float64) + share * np.array(posed.tail, np.float64)


def _side_and_base(name: str) -> tuple[str, str]:
    """('L', 'upperarm') of DEF-upper_arm.L, mixamorig:LeftArm (then 'arm'), upperarm_l, left_elbow."""
    plain = name
    while (shorter := _PREFIX.sub("", plain)) != plain:
        plain = shorter
    matched = _LEFT_RIGHT.search(plain)
    side = next(filter(None, matched.groups()))[0].upper() if matched else ""
    base = plain[: matched.start()] + plain[matched.end() :] if matched else plain
    return side, re.sub(r"[^a-z0-9]", "", base.lower())


def segment(found: dict[tuple[str, str], str], side: str, part: str) -> str | None:
    """The bone of a part of the body, of those that `by_name` gives."""
    names = (found.get((side, base)) for base in _SEGMENTS[part])
    return next((name for name in names if name is not None), None)


def _limbs(found: dict[tuple[str, str], str]) -> JointMap:
    places: JointMap = {}
    for side in "LR":
        for joint, choices in _ENDS.items():
            named = ((segment(found, side, part), place) for part, place in choices)
            bone, place = next(((bone, place) for bone, place in named if bone is not None), (None, 0.0))
            if bone is not None:
                places[side + joint] = [(bone, place, 1.0)]
    return places


def _middle(found: dict[tuple[str, str], str], face: bool) -> JointMap:
    """face: the head is the middle of the face, not the top of the head."""
    limbs = _limbs(found)

    def mean(*parts: Points) -> Points:
        return [(bone, place, weight / len(parts)) for part in parts for bone, place, weight in part]

    places: JointMap = {}
    if "LHip" in limbs and "RHip" in limbs:
        places["HipCenter"] = mean(limbs["LHip"], limbs["RHip"])
    if "LShoulder" in limbs and "RShoulder" in limbs:
        places["Sternum"] = places["Thorax"] = mean(limbs["LShoulder"], limbs["RShoulder"])
    neck, head = segment(found, "", "neck"), segment(found, "", "head")
    if neck is not None:
        places["Thorax"] = [(neck, 0.0, 1.0)]
    if "HipCenter" in places and "Thorax" in places:
        places["Spine"] = mean(places["HipCenter"], places["Thorax"])
    if head is not None:
        places["Neck/Nose"], places["Head"] = [(head, 0.4, 1.0)], [(head, 0.5 if face else 1.0, 1.0)]
    return places


def finger_bones(found: dict[tuple[str, str], str]) -> dict[tuple[str, str, int], str]:
    """By side, finger (Thumb to Pinky) and phalanx (1 to 3)."""
    bones: dict[tuple[str, str, int], str] = {}
    for (side, base), name in found.items():
        matched = _FINGER.match(base)
        if matched and side:
            finger = "pinky" if matched[1] == "little" else matched[1]
            if finger.startswith("finger"):
                finger = _FINGERS[int(finger[-1]) - 1]
            number = _PHALANX.get(matched[2] or "") or int(matched[3] or 0)
            bones.setdefault((side, finger.capitalize(), number), name)
    return bones


def _fingers(found: dict[tuple[str, str], str]) -> JointMap:
    """Four joints of each finger; the tip is the tail of the last bone."""
    joints = {name: ("1Knuckles", "2PIP", "3DIP", "4FingerTip") for name in ("Index", "Middle", "Ring", "Pinky")}
    joints["Thumb"] = ("1CMC", "2Knuckles", "3IP", "4FingerTip")
    bones = finger_bones(found)
    places: JointMap = {}
    for side in "LR":
        for finger, parts in joints.items():
            chain = [bones.get((side, finger, number)) for number in (1, 2, 3)]
            places |= {
                f"{side}{finger}{part}": [(bone, 0.0, 1.0)] for bone, part in zip(chain, parts) if bone is not None
            }
            if chain[2] is not None:
                places[f"{side}{finger}{parts[3]}"] = [(chain[2], 1.0, 1.0)]
    return places
