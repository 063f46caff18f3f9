"""Blender's window with an actor loaded and compositing set up (file `panel`), then live (file `viewport`).

Argument: the actor file. Each file is written when the window can be photographed; NAME.taken is awaited.
"""

from __future__ import annotations

import importlib
import math
import sys
from collections.abc import Iterator
from pathlib import Path

import bpy

sys.path.insert(0, __file__.rpartition("/")[0])
import steps


def scenario(actor: str) -> Iterator[float]:
    bpy.context.preferences.view.ui_scale = 1.1
    window, area, region = steps.view3d()
    space = area.spaces.active
    with bpy.context.temp_override(window=window, area=area, region=region):
        bpy.data.objects.remove(bpy.data.objects["Cube"])
        bpy.ops.mesh.primitive_cube_add(size=0.5, location=(0.75, -0.2, -1.0))
        bpy.ops.mesh.primitive_plane_add(size=8, location=(0, 0, -1.25))
        robin = Path(actor).parent / "actors" / "robin.actor"
        robin.parent.mkdir(exist_ok=True)
        robin.write_bytes(Path(actor).read_bytes())
        bpy.ops.avatar.add_folder(directory=str(robin.parent))
        bpy.ops.wm.save_as_mainfile(filepath=str(robin.with_name("shot.blend")))
        bpy.ops.avatar.load_actor(filepath=str(robin))
        rig = bpy.context.object
        for side, sign in (("left", -1), ("right", 1)):
            rig.pose.bones[f"{side}_shoulder"].rotation_quaternion = (
                math.cos(0.5),
                0,
                0,
                sign * math.sin(0.5),
            )
        bpy.ops.avatar.setup_compositing()
        space.region_3d.view_distance = 4.2
        space.region_3d.view_location = (0.35, 0, -0.2)
        space.region_3d.view_rotation = (0.76, 0.6, 0.14, 0.2)
        space.region_3d.view_perspective = "PERSP"
        space.show_region_ui = True
    yield 1.0
    next(region for region in area.regions if region.type == "UI").active_panel_category = "Avatar"
    area.tag_redraw()
    yield from steps.photographed("panel")
    bpy.context.scene.avatar.live_seconds = 60
    with bpy.context.temp_override(window=window, area=area, region=region):
        bpy.ops.mesh.primitive_cube_add(size=0.4, location=(0.1, -0.5, -1.05))
        bpy.ops.object.select_all(action="DESELECT")
        bpy.ops.avatar.live()
    space.overlay.show_bones = False
    viewport = importlib.import_module(f"{steps.EXTENSION}.viewport")
    for _ in range(steps.WAIT):
        found = viewport.shown(space)
        if found is not None and found.share == 1:
            break
        area.tag_redraw()
        yield 0.1
    yield from steps.photographed("viewport")


steps.run(scenario(sys.argv[sys.argv.index("--") + 1]))
