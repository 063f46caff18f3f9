# SPDX-License-Identifier: GPL-3.0-or-later
"""The button that installs the renderer: only on a click, only where Blender may use the network, until Esc."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import bpy

from . import runtime, session, worker_setup
from .runtime import Installation

_PERIOD = 0.2  # seconds between two looks at a running installation
_current: Installation | None = None  # the last one


def begin() -> Installation:
    """Starts an installation into the user's folder."""
    global _current
    home = worker_setup.renderer_home()
    assert home is not None  # poll saw to it
    _current = Installation(home, runtime.source(Path(__file__).parent))
    return _current


def progress() -> str:
    """What a running installation does, for the panels; empty where none runs."""
    if _current is None or not _current.running:
        return ""
    minutes, seconds = divmod(_current.seconds, 60)
    return f"{_current.step} ({minutes}:{seconds:02d})"


def failure() -> str:
    """Why the last installation failed; empty where none did."""
    return _current.error if _current is not None and not _current.running else ""


class AVATAR_OT_install_renderer(bpy.types.Operator):
    """Install the renderer in Blender's folder of this user. Fetches PyTorch and others: 1 to 5 GB. Esc cancels"""

    bl_idname = "avatar.install_renderer"
    bl_label = "Install Renderer"

    _timer: Any = None

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        reason = ""
        if progress():
            reason = "The renderer is being installed"
        elif os.environ.get(worker_setup.COMMAND_VARIABLE):
            reason = f"The environment variable {worker_setup.COMMAND_VARIABLE} names another renderer"
        elif worker_setup.renderer_home() is None:
            reason = "Install Neural Avatars as an extension first: this copy has no folder of its own"
        elif not bpy.app.online_access:
            reason = "Allow Online Access in Preferences > System > Network first, or copy the install command"
        cls.poll_message_set(reason)
        return not reason

    def invoke(self, context: bpy.types.Context, event: bpy.types.Event) -> set[str]:
        begin()
        manager = context.window_manager
        self._timer = manager.event_timer_add(_PERIOD, window=context.window)
        manager.modal_handler_add(self)
        return {"RUNNING_MODAL"}

    def modal(self, context: bpy.types.Context, event: bpy.types.Event) -> set[str]:
        installation: Any = _current
        if event.type == "ESC":
            installation.stop()
        if not installation.running:
            context.window_manager.event_timer_remove(self._timer)
            return self._end(context, installation)
        if event.type == "TIMER":
            _redraw(context)
        return {"PASS_THROUGH"}

    def execute(self, context: bpy.types.Context) -> set[str]:
        installation = begin()
        installation.wait()
        return self._end(context, installation)

    def cancel(self, context: bpy.types.Context) -> None:
        """Its window was closed."""
        if _current is not None:
            _current.stop()

    def _end(self, context: bpy.types.Context, installation: Installation) -> set[str]:
        _redraw(context)
        if installation.python is None:
            sentence = installation.error or "Cancelled: nothing was installed."
            self.report({"ERROR"} if installation.error else {"INFO"}, sentence)
            return {"CANCELLED"}
        session.current.close()  # an older environment's worker
        runtime.tidy(installation.log.parent)
        worker_setup.use_installed()
        session.current.check()
        self.report({"INFO"}, f"Installed: {session.current.status}")
        return {"FINISHED"}


class AVATAR_OT_cancel_install(bpy.types.Operator):
    """Stop installing; what was fetched is deleted"""

    bl_idname = "avatar.cancel_install"
    bl_label = "Cancel"

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        if not progress():
            cls.poll_message_set("Nothing is being installed")
            return False
        return True

    def execute(self, context: bpy.types.Context) -> set[str]:
        if _current is not None:
            _current.stop()
        return {"FINISHED"}


class AVATAR_OT_copy_install(bpy.types.Operator):
    """Copy the terminal command that installs the renderer by hand; its Python is then entered in the preferences"""

    bl_idname = "avatar.copy_install"
    bl_label = "Copy Install Command"

    def execute(self, context: bpy.types.Context) -> set[str]:
        context.window_manager.clipboard = runtime.install_command(runtime.source(Path(__file__).parent))
        python, place = runtime.python_by_hand(), "Preferences > Add-ons > Neural Avatars"
        self.report({"INFO"}, f"Copied: run it in a terminal, then enter {python} as Python in {place}.")
        return {"FINISHED"}


def _redraw(context: bpy.types.Context) -> None:
    for window in context.window_manager.windows:
        for area in window.screen.areas:
            if area.type in {"VIEW_3D", "PREFERENCES"}:
                area.tag_redraw()


_OPERATORS = (AVATAR_OT_install_renderer, AVATAR_OT_cancel_install, AVATAR_OT_copy_install)
_register, _unregister = bpy.utils.register_classes_factory(_OPERATORS)


def register() -> None:
    _register()


def unregister() -> None:
    if _current is not None:
        _current.stop()
    _unregister()
