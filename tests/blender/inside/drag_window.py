"""An actor's picture is dragged from the library into the 3D view, by real events of a mouse.

Argument: the actor file. Writes `shown` with the places of the picture and of drops, in pixels from the screen's top
left. To a file ask.NAME it answers by NAME, with the actors that there are then.
"""

from __future__ import annotations

import importlib
import json
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import bpy
from bpy_extras.view3d_utils import location_3d_to_region_2d
from mathutils import Vector

sys.path.insert(0, __file__.rpartition("/")[0])
import steps

PICTURE = (0.5, 95)  # of the sidebar's width, pixels under its top: on the first picture where there is one column
DROPS = ((0.4, 0.3), (0.3, 0.2))  # of the 3D view's sides, from its bottom left


def scenario(actor: str) -> Iterator[float]:
    folder = Path(actor).parent / "actors"
    folder.mkdir(exist_ok=True)
    shutil.copy(actor, folder / "robin.actor")
    window, area, region = steps.view3d()
    space = area.spaces.active
    with bpy.context.temp_override(window=window, area=area, region=region):
        bpy.data.objects.remove(bpy.data.objects["Cube"])
        bpy.ops.avatar.add_folder(directory=str(folder))
        bpy.ops.ed.undo_push(message="begun")
    space.show_region_ui = True
    yield 1.0
    panel = next(region for region in area.regions if region.type == "UI")
    panel.active_panel_category = "Avatar"
    area.tag_redraw()
    shelf = importlib.import_module(f"{steps.EXTENSION}.library").shelf
    yield from steps.until(lambda: shelf.found)
    yield 2.0
    drops = [(round(x * region.width), round(y * region.height)) for x, y in DROPS]
    picture = panel.x + round(PICTURE[0] * panel.width), window.height - panel.y - panel.height + PICTURE[1]
    ends = [(region.x + x, window.height - region.y - y) for x, y in drops]
    bpy.ops.wm.redraw_timer(type="DRAW_WIN_SWAP", iterations=2)
    steps.tell("shown", json.dumps({"picture": picture, "ends": ends, "drops": drops}))
    for _ in range(steps.WAIT):
        for asked in Path().glob("ask.*"):
            asked.unlink()
            steps.tell(asked.suffix[1:], json.dumps(state(region, space)))
        yield 0.1


def state(region: Any, space: Any) -> dict[str, Any]:
    """Where the actors' feet are, in the world and in the view, and what Blender can do again."""
    feet = []
    for rig in avatars():
        body = rig.children[0]
        lowest = min((body.matrix_world @ corner.co).z for corner in body.data.vertices)
        feet.append(Vector((*rig.location.xy, lowest)))
    return {
        "feet": [tuple(place) for place in feet],
        "seen": [tuple(location_3d_to_region_2d(region, space.region_3d, place)) for place in feet],
        "collections": len(bpy.data.collections),
        "operators": [operator.bl_idname for operator in bpy.context.window_manager.operators],
    }


def avatars() -> list[Any]:
    return [found for found in bpy.data.objects if found.avatar.actor_path]


steps.run(scenario(sys.argv[sys.argv.index("--") + 1]))
