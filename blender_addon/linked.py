# SPDX-License-Identifier: GPL-3.0-or-later
"""An avatar that another .blend holds, made ready to be posed here: library overrides of its rig, body and sliders."""

from __future__ import annotations

from typing import Any

import bpy

from .attempt import Attempt
from .errors import SceneError
from .properties import avatar_of, body_mesh


class AVATAR_OT_pose_here(Attempt, bpy.types.Operator):
    """Let this linked avatar be posed, shaped and set here; all else goes on following its own .blend"""

    bl_idname = "avatar.pose_here"
    bl_label = "Pose Linked Avatar Here"
    bl_options = frozenset({"REGISTER", "UNDO"})

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        if linked_collection(context.object) is None:
            cls.poll_message_set("Select an avatar that is linked from another .blend first")
            return False
        return True

    def work(self, context: bpy.types.Context) -> str:
        linked: Any = linked_collection(context.object)  # poll saw to it
        instance = context.object if context.object.instance_collection == linked else None
        moved = instance.matrix_world.copy() if instance is not None else None
        made = linked.override_hierarchy_create(context.scene, context.view_layer, reference=instance)
        if made is None:
            raise SceneError(f"Blender makes no library override of '{linked.name}': link its collection anew.")
        _take_out(linked, instance)
        avatars = [found for found in made.all_objects if found.avatar.actor_path]
        for avatar in avatars:
            mesh = body_mesh(avatar)
            if mesh is not None and mesh.data.library is not None:
                mesh.data.override_create(remap_local_usages=True)
            if moved is not None and avatar.parent is None:
                avatar.matrix_world = moved @ avatar.matrix_world
        context.view_layer.objects.active = avatars[0]
        return f"'{avatars[0].name}' can be posed here; what you leave alone follows its own .blend."


def linked_collection(found: bpy.types.Object | None) -> bpy.types.Collection | None:
    """The collection of another .blend that brings in the avatar of `found`, an instance of it or an object in it."""
    if found is None:
        return None
    instanced = found.instance_collection
    if instanced is not None and instanced.library is not None:
        return instanced if any(held.avatar.actor_path for held in instanced.all_objects) else None
    avatar = avatar_of(found)
    if avatar is None or avatar.library is None:
        return None
    return next((held for held in avatar.users_collection if held.library is not None), None)


def _take_out(linked: bpy.types.Collection, instance: bpy.types.Object | None) -> None:
    """Of what the overrides replace nothing stays to be seen."""
    if instance is not None:
        bpy.data.objects.remove(instance)
    for parent in [*(scene.collection for scene in bpy.data.scenes), *bpy.data.collections]:
        if parent.library is None and parent.override_library is None and linked in parent.children.values():
            parent.children.unlink(linked)


register, unregister = bpy.utils.register_classes_factory((AVATAR_OT_pose_here,))
