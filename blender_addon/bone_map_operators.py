# SPDX-License-Identifier: GPL-3.0-or-later
"""Bone maps of characters, saved and applied."""

from __future__ import annotations

from typing import Any

import bpy

from . import bone_maps, session
from .attempt import Attempt
from .properties import actor_file, avatar_of


class _OnCharacter:
    """An operator's part that wants a character that drives an actor to be active."""

    @classmethod
    def poll(cls: Any, context: bpy.types.Context) -> bool:
        avatar = avatar_of(context.object)
        if avatar is None or not avatar.avatar.joint_map:
            cls.poll_message_set("Let an armature of your own drive an actor first")
            return False
        return True


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


_OPERATORS = (AVATAR_OT_save_bone_map, AVATAR_OT_apply_bone_map)
register, unregister = bpy.utils.register_classes_factory(_OPERATORS)
