# SPDX-License-Identifier: GPL-3.0-or-later
"""What Blender does not know to be out of date."""

from __future__ import annotations

import bpy


def views() -> None:
    """Has all 3D views drawn anew, their sidebars too."""
    for window in bpy.context.window_manager.windows:
        for area in window.screen.areas:
            if area.type == "VIEW_3D":
                area.tag_redraw()
