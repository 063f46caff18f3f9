# SPDX-License-Identifier: GPL-3.0-or-later
"""Bone maps of characters: saved, applied, and told bone by bone."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import bpy

from . import bone_maps, session
from .attempt import Attempt, OnAvatar
from .drive import FINGER_PARTS, PARTS, tell
from .errors import SceneError
from .properties import actor_file, avatar_of

_AS_NAMED = "AS_NAMED"


def _title(part: str) -> str:
    """'Left Upper Arm' of upper_arm.L."""
    name, _, side = part.partition(".")
    return f"{ {'L': 'Left ', 'R': 'Right '}.get(side, '') }{name.replace('_', ' ').title()}"


def _said(parts: Iterable[str]) -> list[tuple[str, str, str]]:
    return [(part, _title(part), f"This bone starts the {_title(part).lower()}, and turns it") for part in parts]


_PARTS = [(_AS_NAMED, "What Its Name Says", "Forget what was said"), *_said(PARTS)]
_WITH_FINGERS = list(_PARTS)
for side, heading in ((".L", "Left Fingers"), (".R", "Right Fingers")):  # each starts a column
    _WITH_FINGERS += [("", heading, ""), *_said(part for part in FINGER_PARTS if part.endswith(side))]


def _offered(operator: object, context: bpy.types.Context) -> list[tuple[str, str, str]]:
    """Fingers where the actor that is driven has some."""
    avatar = avatar_of(context.object)
    return _WITH_FINGERS if avatar is not None and avatar.avatar.fingers else _PARTS


class _OnCharacter(OnAvatar):
    """An operator's part that wants a character that drives an actor to be active."""

    otherwise = "Let an armature of your own drive an actor first"

    @staticmethod
    def fits(avatar: bpy.types.Object) -> bool:
        return bool(avatar.avatar.joint_map)


class AVATAR_OT_save_bone_map(_OnCharacter, Attempt, bpy.types.Operator):
    """Save which bones of this character are which joints, for other characters with such bones"""

    bl_idname = "avatar.save_bone_map"
    bl_label = "Save Bone Map"
    bl_options = frozenset({"REGISTER"})

    name: bpy.props.StringProperty(name="Name", description="Of the saved map")

    def invoke(self, context: bpy.types.Context, event: bpy.types.Event) -> set[str]:
        avatar: Any = avatar_of(context.object)  # poll saw to it
        self.name = self.name or avatar.name
        return context.window_manager.invoke_props_dialog(self)

    def work(self, context: bpy.types.Context) -> str:
        return f"Saved as {bone_maps.save(self.name, avatar_of(context.object)).stem}."


class AVATAR_OT_apply_bone_map(_OnCharacter, Attempt, bpy.types.Operator):
    """Take another map of bones for this character: told by their names, or as saved from another character"""

    bl_idname = "avatar.apply_bone_map"
    bl_label = "Bone Map"
    bl_options = frozenset({"REGISTER", "UNDO"})

    bone_map: bone_maps.choice()

    def work(self, context: bpy.types.Context) -> str:
        avatar: Any = avatar_of(context.object)  # poll saw to it
        path = actor_file(avatar)
        schema = session.current.actor(path).schema
        avatar.avatar.joint_map = bone_maps.joint_map(avatar, path, schema, bone_maps.chosen(self.bone_map))
        return bone_maps.described(avatar, schema)


class AVATAR_OT_tell_bone(Attempt, bpy.types.Operator):
    """Say which part of the body the active bone is, where its name does not; the side is the character's own"""

    bl_idname = "avatar.tell_bone"
    bl_label = "Active Bone Is"
    bl_options = frozenset({"REGISTER", "UNDO"})

    part: bpy.props.EnumProperty(name="Part", description="Of the body", items=_offered)

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        if context.active_pose_bone is None:
            cls.poll_message_set("Choose a bone of your character in Pose Mode first")
            return False
        return True

    def work(self, context: bpy.types.Context) -> str:
        armature, bone = context.object, context.active_pose_bone.name
        if armature.library is not None or armature.data.library is not None:
            raise SceneError(f"'{armature.name}' is linked from another file: say there what its bones are.")
        tell(armature, bone, "" if self.part == _AS_NAMED else self.part)
        said = f"'{bone}' is what its name says" if self.part == _AS_NAMED else f"'{bone}' is the {_title(self.part)}"
        avatar = avatar_of(armature)
        if avatar != armature or not armature.avatar.joint_map:
            return f"{said}. When all are told, press Drive Actor with This Armature."
        path = actor_file(armature)
        schema = session.current.actor(path).schema
        try:
            armature.avatar.joint_map = bone_maps.joint_map(armature, path, schema, None)
        except SceneError as error:  # until the next bone is told the former map stays
            return f"{said}. {error}"
        return f"{said}. {bone_maps.described(armature, schema)}"


_OPERATORS = (AVATAR_OT_save_bone_map, AVATAR_OT_apply_bone_map, AVATAR_OT_tell_bone)
register, unregister = bpy.utils.register_classes_factory(_OPERATORS)
