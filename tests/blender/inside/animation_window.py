"""Blender's window with a shot whose animation a key of the keyboard renders.

Arguments: the actor, the .blend, the output. The file `ready` is written when the key can be pressed,
`rendered` when all frames are there.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator

import bpy

sys.path.insert(0, __file__.rpartition("/")[0])
import steps


def scenario(output: str) -> Iterator[float]:
    ended: list[str] = []
    bpy.app.handlers.render_complete.append(lambda *_: ended.append("completed"))
    bpy.app.handlers.render_cancel.append(lambda *_: ended.append("cancelled"))
    bpy.context.preferences.view.render_display_type = "NONE"
    bpy.context.scene.render.filepath = output
    yield 1.0
    steps.tell("ready")
    while not ended:
        yield 0.1
    steps.tell("rendered", ended[0])
    yield 1.0


_, blend, target = sys.argv[sys.argv.index("--") + 1 :]
bpy.ops.wm.open_mainfile(filepath=blend)
steps.run(scenario(target))
