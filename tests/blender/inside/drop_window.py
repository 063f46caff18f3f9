"""The library in Blender's window, and an actor dragged from Blender's file browser into the 3D view.

Argument: the actor file. Writes `ready` with the places (pixels from the screen's top left) from where to where to
drag, `dropped` with where the actor's feet are seen, and, once a key has undone that, `undone` with the places of the
actors that a click in the library loads.
"""

from __future__ import annotations

import importlib
import json
import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import bpy
from bpy_extras.view3d_utils import location_3d_to_region_2d

sys.path.insert(0, __file__.rpartition("/")[0])
import steps

FIRST_FILE = (60, 36)  # pixels from the top left of a list of files to the first one
DROP = (0.4, 0.3)  # of the 3D view's sides, from its bottom left


def scenario(actor: str) -> Iterator[float]:
    folder = Path(actor).parent / "actors"
    folder.mkdir(exist_ok=True)
    shutil.copy(actor, folder / "robin.actor")
    window, area, region = steps.view3d()
    with bpy.context.temp_override(window=window, area=area, region=region):
        bpy.data.objects.remove(bpy.data.objects["Cube"])
        bpy.ops.screen.area_split(direction="HORIZONTAL", factor=0.3)
        bpy.ops.avatar.add_folder(directory=str(folder))
    browser = min((found for found in window.screen.areas if found.type == "VIEW_3D"), key=lambda found: found.y)
    browser.ui_type = "FILES"
    area = next(found for found in window.screen.areas if found.type == "VIEW_3D")
    space, region = area.spaces.active, next(region for region in area.regions if region.type == "WINDOW")
    space.show_region_ui = True
    yield 1.0
    parameters = browser.spaces.active.params
    parameters.directory, parameters.display_type = os.fsencode(folder), "LIST_VERTICAL"
    parameters.use_filter = False
    next(region for region in area.regions if region.type == "UI").active_panel_category = "Avatar"
    area.tag_redraw()
    shelf = importlib.import_module(f"{steps.EXTENSION}.library").shelf
    yield from steps.until(lambda: shelf.found)
    yield 2.0
    files = next(region for region in browser.regions if region.type == "WINDOW")
    start = files.x + FIRST_FILE[0], window.height - (files.y + files.height) + FIRST_FILE[1]
    drop = round(DROP[0] * region.width), round(DROP[1] * region.height)
    end = region.x + drop[0], window.height - region.y - drop[1]
    bpy.ops.wm.redraw_timer(type="DRAW_WIN_SWAP", iterations=2)
    steps.tell("ready", json.dumps({"start": start, "end": end}))
    yield from steps.until(avatars)
    yield 1.0
    rig = avatars()[0]
    lowest = min((rig.children[0].matrix_world @ corner.co for corner in rig.children[0].data.vertices), key=height)
    feet = rig.location.copy()
    feet.z = lowest.z
    seen = location_3d_to_region_2d(region, space.region_3d, feet)
    bpy.ops.wm.redraw_timer(type="DRAW_WIN_SWAP", iterations=2)
    steps.tell("dropped", json.dumps({"seen": list(seen), "wanted": drop, "floor": feet.z}))
    yield from steps.until(lambda: not avatars())
    panel = next(region for region in area.regions if region.type == "UI")
    with bpy.context.temp_override(window=window, area=area, region=panel):
        bpy.ops.avatar.load_actor("INVOKE_DEFAULT", filepath=str(folder / "robin.actor"))  # as the library's button
    steps.tell("undone", json.dumps({"clicked": [tuple(found.location) for found in avatars()]}))
    yield 1.0


def avatars() -> list[Any]:
    return [found for found in bpy.data.objects if found.avatar.actor_path]


def height(point: Any) -> float:
    return point.z


steps.run(scenario(sys.argv[sys.argv.index("--") + 1]))
