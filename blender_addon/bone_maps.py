# SPDX-License-Identifier: GPL-3.0-or-later
"""Which bones of a character are which joints: guessed from names, or as saved under a name for other characters.

A saved map is a small JSON file in the user's folder. It has bones only; what follows from a character's size and rest
pose is found anew for each (retarget.py). {"bones": {joint: bone}} is for actors with joints, {"points": {joint:
[[bone, place, weight], …]}} for those that follow places (drive.py).
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import bpy

from . import retarget, session
from .drive import guessed_map, read_map, told_bones
from .errors import SceneError

_BY_NAMES = "BY_NAMES"
_MAX_BYTES = 1 << 20
_SHOWN = 6  # names in a message
_items: list[tuple[str, str, str]] = []  # of the menu that was drawn last: Blender does not keep its strings

Saved = dict[str, dict[str, Any]]  # one of "bones" and "points"


def names() -> list[str]:
    """Of the saved maps."""
    folder = _folder(create=False)
    return sorted(path.stem for path in folder.glob("*.json")) if folder is not None else []


def save(name: str, armature: bpy.types.Object) -> Path:
    """Writes the map of an avatar; one of the same name is replaced. Raises SceneError."""
    clean = bpy.path.clean_name(name.strip())
    if not clean:
        raise SceneError("The bone map has no name: type one.")
    try:
        kept = json.loads(armature.avatar.joint_map)
        saved = {"bones": kept["bones"]} if "bones" in kept else {"points": kept}
        target = _folder(create=True) / f"{clean}.json"
        target.write_text(json.dumps(_checked(saved, armature.name), indent=1), encoding="utf-8")
    except (ValueError, TypeError, RecursionError) as error:
        raise SceneError(
            f"The bone map of '{armature.name}' is damaged: press Drive Actor with This Armature once more."
        ) from error
    except OSError as error:
        raise SceneError(f"The bone map '{clean}' cannot be written: {error.strerror or error}.") from error
    return target


def read(name: str) -> Saved:
    """Raises SceneError."""
    path = _folder(create=True) / f"{name}.json"
    try:
        if path.stat().st_size > _MAX_BYTES:
            raise SceneError(f"{path} is too large for a bone map.")
        return _checked(json.loads(path.read_text(encoding="utf-8")), name)
    except OSError as error:
        raise SceneError(f"The bone map '{name}' cannot be read: {error.strerror or error}.") from error
    except (ValueError, RecursionError) as error:
        raise SceneError(f"The bone map {path} is damaged: delete it, or save it anew.") from error


def joint_map(armature: bpy.types.Object, path: Path, schema: dict[str, Any], saved: Saved | None) -> str:
    """What AvatarSettings.joint_map keeps, for the actor at `path`; saved: None guesses. Raises SceneError."""
    if schema.get("points"):
        return json.dumps(_places(armature, schema["points"], saved))
    if not schema["joints"]:
        raise SceneError(f"{path.stem} is a head, which no skeleton poses: use Load Actor.")
    bones = None
    if saved is not None:
        bones = {joint: bone for joint, bone in _part(saved, "bones").items() if joint in schema["joints"]}
        _refuse_lost(armature, bones.values())
    _, arrays = session.current.body(path)
    return retarget.find(armature, schema["joints"], arrays["parents"], arrays["joints"], bones).to_json()


def described(armature: bpy.types.Object, schema: dict[str, Any]) -> str:
    """A sentence: how many of the actor's joints have a bone, and which have none."""
    kept = json.loads(armature.avatar.joint_map)
    wanted = schema.get("points") or schema["joints"]
    missing = [joint for joint in wanted if joint not in kept.get("bones", kept)]
    rest = f"; not found: {_listed(missing)}" if missing else ""
    found = f"{len(wanted) - len(missing)} of the {len(wanted)} joints of {armature.avatar.actor_name}"
    return f"'{armature.name}' drives {found}{rest}."


def choice() -> Any:
    """The property of an operator that takes a map: by names, or a saved one."""
    return bpy.props.EnumProperty(
        name="Bone Map",
        description="Which bones are which joints: told by their names, or as you saved it from another character",
        items=_listed_maps,
    )


def chosen(value: str) -> Saved | None:
    """The map that a `choice` names; None where names of bones tell. Raises SceneError."""
    return None if value in ("", _BY_NAMES) else read(value)


def _listed_maps(operator: object, context: object) -> list[tuple[str, str, str]]:
    _items[:] = [(_BY_NAMES, "By Names", "Bones are named as Rigify, Mixamo, Unreal, MakeHuman, VRM or SMPL do")]
    _items.extend((name, name, f"Saved as {name}") for name in names())
    return _items


def _places(armature: bpy.types.Object, points: list[str], saved: Saved | None) -> dict[str, Any]:
    if saved is None:
        places = guessed_map(told_bones(armature), points)
        if len(places) < 2:
            raise SceneError(
                f"No bone of '{armature.name}' is named like an arm, a leg or a head: say in Pose Mode which they are"
                " (tab Avatar, Active Bone Is), and choose again."
            )
        return places
    return read_map(json.dumps({j: p for j, p in _part(saved, "points").items() if j in points}), armature)


def _part(saved: Saved, kind: str) -> dict[str, Any]:
    if kind not in saved:
        raise SceneError("This bone map was saved from an actor that is driven in another way: choose By Names.")
    return saved[kind]


def _refuse_lost(armature: bpy.types.Object, bones: Any) -> None:
    lost = sorted({bone for bone in bones if bone not in armature.pose.bones})
    if lost:
        raise SceneError(f"Armature '{armature.name}' lacks bones of this map ({_listed(lost)}): choose another map.")


def _checked(data: Any, name: str) -> Saved:
    """Raises SceneError for what is no map."""
    if isinstance(data, dict):
        bones, points = data.get("bones"), data.get("points")
        if isinstance(bones, dict) and all(isinstance(bone, str) for bone in bones.values()):
            return {"bones": bones}
        if isinstance(points, dict) and all(isinstance(entry, list) for entry in points.values()):
            return {"points": points}
    raise SceneError(f"The bone map of '{name}' is damaged: save it anew.")


def _listed(found: list[str]) -> str:
    return ", ".join(found[:_SHOWN]) + (", …" if len(found) > _SHOWN else "")


def _folder(create: bool) -> Any:
    """None where nothing was ever saved, unless it is to be made."""
    try:
        path = bpy.utils.extension_path_user(__package__, path="bone_maps", create=create)
    except ValueError:  # a script runs the sources without installing them
        if create:
            raise SceneError("Bone maps are kept by the installed extension only.") from None
        return None
    return Path(path)
