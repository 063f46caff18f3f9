"""Saves from_baked.blend, a shot that takes its avatars from pictures, after it went back and forth once.

Arguments: the shot, and one of the pictures.
"""

from __future__ import annotations

import os

import bpy


def main(arguments: list[str]) -> int:
    shot, first = arguments
    bpy.ops.wm.open_mainfile(filepath=shot)
    for operator, options in (
        ("use_baked", {"filepath": first}),
        ("render_again", {}),
        ("use_baked", {"filepath": first}),
    ):
        assert getattr(bpy.ops.avatar, operator)(**options) == {"FINISHED"}
    try:
        bpy.ops.avatar.use_baked(filepath=first.replace("0001", "name"))
    except RuntimeError as error:
        assert "set up" in str(error) or "numbered" in str(error), error
    else:
        return 1
    bpy.ops.wm.save_as_mainfile(filepath=os.path.join(os.path.dirname(shot), "from_baked.blend"))
    return 0
