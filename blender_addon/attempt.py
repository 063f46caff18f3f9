# SPDX-License-Identifier: GPL-3.0-or-later
"""How operators do their work: known failures become sentences for the artist."""

from __future__ import annotations

from typing import Any

import bpy

from .client import WorkerError
from .errors import SceneError


def attempt(operator: bpy.types.Operator, context: bpy.types.Context, work: Any) -> set[str]:
    """Does `work`, which returns a sentence; its known failures become the operator's error."""
    window = context.window
    if window is not None:
        window.cursor_modal_set("WAIT")
    try:
        operator.report({"INFO"}, work())
    except (SceneError, WorkerError) as error:
        operator.report({"ERROR"}, str(error))
        return {"CANCELLED"}
    finally:
        if window is not None:
            window.cursor_modal_restore()
    return {"FINISHED"}
