# SPDX-License-Identifier: GPL-3.0-or-later
"""The renderer beside Blender: checked, ended."""

from __future__ import annotations

import bpy

from . import redraw, session
from .attempt import Attempt


class AVATAR_OT_check_worker(Attempt, bpy.types.Operator):
    """Start the renderer and say what it is and where it renders"""

    bl_idname = "avatar.check_worker"
    bl_label = "Check"

    def work(self, context: bpy.types.Context) -> str:
        try:
            session.current.check()
        finally:
            redraw.views()  # it may have been pressed in the preferences
        return session.current.status


class AVATAR_OT_stop_worker(bpy.types.Operator):
    """End the renderer and free its memory; it starts again by itself when it is needed"""

    bl_idname = "avatar.stop_worker"
    bl_label = "Stop"

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        if not session.current.running:
            cls.poll_message_set("The renderer does not run")
            return False
        return True

    def execute(self, context: bpy.types.Context) -> set[str]:
        session.current.close()
        return {"FINISHED"}


_OPERATORS = (AVATAR_OT_check_worker, AVATAR_OT_stop_worker)
register, unregister = bpy.utils.register_classes_factory(_OPERATORS)
