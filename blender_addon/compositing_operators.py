# SPDX-License-Identifier: GPL-3.0-or-later
"""Avatars into the compositor: set up, removed, from baked pictures and back."""

from __future__ import annotations

from pathlib import Path

import bpy

from . import baked, compositor
from .attempt import attempt
from .properties import actor_objects, owner_scene


class AVATAR_OT_setup_compositing(bpy.types.Operator):
    """Render the avatars in a scene of their own and merge them by depth. Press again for new ones"""

    bl_idname = "avatar.setup_compositing"
    bl_label = "Set Up Compositing"
    bl_options = frozenset({"REGISTER", "UNDO"})

    def execute(self, context: bpy.types.Context) -> set[str]:
        return attempt(self, context, lambda: self._set_up(context))

    def _set_up(self, context: bpy.types.Context) -> str:
        avatars = compositor.set_up(context.scene.avatar.owner or context.scene)
        return f"{len(actor_objects(avatars))} avatars render in '{avatars.name}' and are merged by depth."


class AVATAR_OT_remove_compositing(bpy.types.Operator):
    """Remove the scene of the avatars and its nodes; the compositor is as it was before"""

    bl_idname = "avatar.remove_compositing"
    bl_label = "Remove Compositing"
    bl_options = frozenset({"REGISTER", "UNDO"})

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        return (context.scene.avatar.owner or context.scene).avatar.avatars is not None

    def execute(self, context: bpy.types.Context) -> set[str]:
        scene = context.scene.avatar.owner or context.scene
        if context.window is not None and context.window.scene == scene.avatar.avatars:
            context.window.scene = scene
        compositor.remove(scene)
        return {"FINISHED"}


class AVATAR_OT_use_baked(bpy.types.Operator):
    """Take the avatars from baked pictures: choose one of those that the command 'avatar bake' wrote"""

    bl_idname = "avatar.use_baked"
    bl_label = "Use Baked Pictures"
    bl_options = frozenset({"REGISTER", "UNDO"})

    filepath: bpy.props.StringProperty(subtype="FILE_PATH", options={"SKIP_SAVE"})
    filter_glob: bpy.props.StringProperty(default="*.exr", options={"HIDDEN"})

    def invoke(self, context: bpy.types.Context, event: bpy.types.Event) -> set[str]:
        context.window_manager.fileselect_add(self)
        return {"RUNNING_MODAL"}

    def execute(self, context: bpy.types.Context) -> set[str]:
        return attempt(self, context, lambda: self._use(context))

    def _use(self, context: bpy.types.Context) -> str:
        first = Path(bpy.path.abspath(self.filepath)).absolute()
        return f"{baked.use(owner_scene(context.scene), first)} baked frames are merged by depth."


class AVATAR_OT_render_again(bpy.types.Operator):
    """Render the avatars again instead of taking them from baked pictures; the pictures stay where they are"""

    bl_idname = "avatar.render_again"
    bl_label = "Render Instead"
    bl_options = frozenset({"REGISTER", "UNDO"})

    def execute(self, context: bpy.types.Context) -> set[str]:
        return attempt(self, context, lambda: self._again(context))

    def _again(self, context: bpy.types.Context) -> str:
        baked.render_again(owner_scene(context.scene))
        return "The avatars are rendered again."


def register() -> None:
    for operator in _OPERATORS:
        bpy.utils.register_class(operator)


def unregister() -> None:
    for operator in reversed(_OPERATORS):
        bpy.utils.unregister_class(operator)


_OPERATORS = (
    AVATAR_OT_setup_compositing,
    AVATAR_OT_remove_compositing,
    AVATAR_OT_use_baked,
    AVATAR_OT_render_again,
)
