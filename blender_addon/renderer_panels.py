# SPDX-License-Identifier: GPL-3.0-or-later
"""The renderer in the tab Avatar: how to get one, first of all, and what it does."""

from __future__ import annotations

from typing import Any

import bpy

from . import install_operators, session, worker_setup

_LETTER = 7.0  # pixels of a letter, about
_MARGIN = 9  # letters that icon and borders take
_SHORTEST = 24  # letters of a line
_MISSING = (
    "Avatars are drawn by a program beside Blender, the renderer. It is not installed yet. Install Renderer"
    " fetches it (1 to 5 GB, some minutes), with Robin, a person to begin with."
)
_OFFLINE = "Blender may not use the network: tick Edit > Preferences > System > Network > Allow Online Access first."


class _AvatarPanel:
    bl_space_type = "VIEW_3D"
    bl_region_type = "UI"
    bl_category = "Avatar"


class AVATAR_PT_first_step(_AvatarPanel, bpy.types.Panel):
    bl_label = "First Step"  # registered before the other panels, it is above them until it is done

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        return worker_setup.missing() or bool(install_operators.progress())

    def draw(self, context: bpy.types.Context) -> None:
        draw_install(self.layout, context)
        _draw_preferences(self.layout)


class AVATAR_PT_worker(_AvatarPanel, bpy.types.Panel):
    bl_label = "Renderer"
    bl_order = 100  # below the others

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        return not AVATAR_PT_first_step.poll(context)

    def draw(self, context: bpy.types.Context) -> None:
        draw_status(self.layout, context)
        row = self.layout.row(align=True)
        row.operator("avatar.check_worker", icon="CHECKMARK")
        row.operator("avatar.stop_worker", icon="CANCEL")
        _draw_preferences(row, "")


def draw_install(layout: Any, context: bpy.types.Context) -> None:
    """What there is to do where no renderer is installed yet."""
    running = install_operators.progress()
    if running:
        draw_text(layout.box(), context, f"Installing; Esc cancels. {running}", "SORTTIME")
        layout.operator("avatar.cancel_install", icon="X")
        return
    draw_text(layout.box(), context, _MISSING, "INFO")
    if install_operators.failure():
        draw_text(layout.box(), context, install_operators.failure(), "ERROR")
    if not bpy.app.online_access:
        draw_text(layout, context, _OFFLINE, "INTERNET_OFFLINE")
        layout.operator("extensions.userpref_show_online", text="Show This Setting", icon="PREFERENCES")
    row = layout.row()
    row.scale_y = 1.4
    row.operator("avatar.install_renderer", icon="IMPORT")
    layout.operator("avatar.copy_install", icon="COPYDOWN")


def draw_status(layout: Any, context: bpy.types.Context) -> None:
    """The renderer's state in as many lines as it needs."""
    state = session.current
    text = state.status or "Not started yet: it starts by itself"
    icon = "ERROR" if state.failed else "CHECKMARK" if state.running else "RADIOBUT_OFF"
    draw_text(layout.box(), context, text, icon)


def draw_text(layout: Any, context: bpy.types.Context, text: str, icon: str) -> None:
    """Sentences, broken where the panel ends."""
    pixels = context.region.width / context.preferences.system.ui_scale if context.region is not None else 0
    column = layout.column(align=True)
    for number, line in enumerate(_wrapped(text, max(_SHORTEST, int(pixels / _LETTER) - _MARGIN))):
        column.label(text=line, icon=icon if number == 0 else "BLANK1")


register, unregister = bpy.utils.register_classes_factory((AVATAR_PT_first_step, AVATAR_PT_worker))


def _draw_preferences(layout: Any, text: str = "Renderer Preferences") -> None:
    """A button to where another renderer, its device and its threads are chosen."""
    layout.operator("preferences.addon_show", text=text, icon="PREFERENCES").module = __package__


def _wrapped(text: str, width: int) -> list[str]:
    lines: list[str] = []
    for paragraph in text.splitlines():
        line = ""
        for word in paragraph.split():
            if line and len(line) + 1 + len(word) > width:
                lines.append(line)
                line = ""
            line = f"{line} {word}".strip()
        lines.append(line)
    return lines
