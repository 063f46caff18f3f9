# SPDX-License-Identifier: GPL-3.0-or-later
"""Avatars into the compositor: set up, removed, from baked pictures and back; their colours, and room around them."""

from __future__ import annotations

from typing import Any

import bpy

from . import baked, colours, compositor, obstacles, overscan
from .attempt import Attempt, FileAttempt
from .properties import actor_objects, owner_scene


class AVATAR_OT_setup_compositing(Attempt, bpy.types.Operator):
    """Render the avatars in a scene of their own and merge them by depth. Press again for new ones"""

    bl_idname = "avatar.setup_compositing"
    bl_label = "Set Up Compositing"
    bl_options = frozenset({"REGISTER", "UNDO"})

    def work(self, context: bpy.types.Context) -> str:
        scene = owner_scene(context.scene)
        if not compositor.is_set_up(scene):
            colours.release(scene)  # a copied scene, whose nodes are made anew
        avatars = compositor.set_up(scene)
        count = len(actor_objects(avatars))
        said = f"{count} avatar{'s render' if count > 1 else ' renders'} in '{avatars.name}', merged by depth"
        return f"{said}. {obstacles.obstacle(scene) or 'Press F12.'}"


class AVATAR_OT_remove_compositing(Attempt, bpy.types.Operator):
    """Remove the scene of the avatars and its nodes; the compositor is as it was before"""

    bl_idname = "avatar.remove_compositing"
    bl_label = "Remove Compositing"
    bl_options = frozenset({"REGISTER", "UNDO"})

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        if owner_scene(context.scene).avatar.avatars is None:
            cls.poll_message_set("The scene's avatars are not composited")
            return False
        return True

    def work(self, context: bpy.types.Context) -> str:
        scene = owner_scene(context.scene)
        if context.window is not None and context.window.scene == scene.avatar.avatars:
            context.window.scene = scene
        colours.release(scene)
        compositor.remove(scene)
        return f"Scene '{scene.name}' is composited as before."


class _Composited:
    """An operator's part that wants the scene's avatars to be composited."""

    @classmethod
    def poll(cls: Any, context: bpy.types.Context) -> bool:
        if not compositor.is_set_up(owner_scene(context.scene)):
            cls.poll_message_set("Press Set Up Compositing first")
            return False
        return True


class AVATAR_OT_use_baked(_Composited, FileAttempt, bpy.types.Operator):
    """Take the avatars from baked pictures: choose one of those that the command 'avatar bake' wrote"""

    bl_idname = "avatar.use_baked"
    bl_label = "Use Baked Pictures"
    bl_options = frozenset({"REGISTER", "UNDO"})

    filter_glob: bpy.props.StringProperty(default="*.exr", options={"HIDDEN"})

    def work(self, context: bpy.types.Context) -> str:
        return f"{baked.use(owner_scene(context.scene), self.file)} baked frames are merged by depth."


class AVATAR_OT_render_again(Attempt, bpy.types.Operator):
    """Render the avatars again instead of taking them from baked pictures; the pictures stay where they are"""

    bl_idname = "avatar.render_again"
    bl_label = "Render Instead"
    bl_options = frozenset({"REGISTER", "UNDO"})

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        if baked.source(owner_scene(context.scene)) is None:
            cls.poll_message_set("The avatars are rendered already")
            return False
        return True

    def work(self, context: bpy.types.Context) -> str:
        baked.render_again(owner_scene(context.scene))
        return "The avatars are rendered again."


class AVATAR_OT_keep_colours(_Composited, Attempt, bpy.types.Operator):
    """Show avatars as they were captured: only the set goes through the view transform, in the compositor. Press again
    to have it for the whole picture"""

    bl_idname = "avatar.keep_colours"
    bl_label = "Keep Captured Colours"
    bl_options = frozenset({"REGISTER", "UNDO"})

    def work(self, context: bpy.types.Context) -> str:
        scene = owner_scene(context.scene)
        if colours.view_of_set(scene):
            colours.release(scene)
            return f"The whole picture goes through {scene.view_settings.view_transform}."
        return f"The set goes through {colours.keep(scene)}, avatars do not."


class AVATAR_OT_overscan(Attempt, bpy.types.Operator):
    """Render more than the frame on every side, for distortion or shake that is added later; 0 goes back"""

    bl_idname = "avatar.overscan"
    bl_label = "Overscan"
    bl_options = frozenset({"REGISTER", "UNDO"})

    percent: bpy.props.FloatProperty(
        name="Each Side",
        description="How much of the frame's width and height is added on each side; 0 for the frame alone",
        subtype="PERCENTAGE",
        min=0,
        max=100,
        default=5,
    )

    def invoke(self, context: bpy.types.Context, event: bpy.types.Event) -> set[str]:
        return context.window_manager.invoke_props_dialog(self)

    def work(self, context: bpy.types.Context) -> str:
        scene = owner_scene(context.scene)
        x, y = overscan.widen(scene, self.percent)
        if not overscan.is_wide(scene):
            return "The picture is the frame."
        return f"The picture has {x} more pixels left and right, {y} more at top and bottom."


_OPERATORS = (
    AVATAR_OT_setup_compositing,
    AVATAR_OT_remove_compositing,
    AVATAR_OT_use_baked,
    AVATAR_OT_render_again,
    AVATAR_OT_keep_colours,
    AVATAR_OT_overscan,
)
register, unregister = bpy.utils.register_classes_factory(_OPERATORS)
