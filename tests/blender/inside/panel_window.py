"""Shows the sidebar tab Avatar in Blender's window, with an actor loaded and compositing set up.

Arguments: the actor file, and a file that is written when the window can be photographed.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Iterator
from pathlib import Path

import addon_utils  # comes with bpy
import bpy

EXTENSION = "bl_ext.user_default.neural_avatars"


def main(actor: str, ready: str) -> None:
    bpy.context.preferences.view.show_splash = False
    bpy.context.preferences.view.ui_scale = 1.1
    addon_utils.enable(EXTENSION, default_set=True)
    steps = arrange(actor, ready)
    bpy.app.timers.register(lambda: next(steps, None), first_interval=1.0)


def arrange(actor: str, ready: str) -> Iterator[float]:
    """One step of a click or two, then the seconds to wait for the next."""
    window = bpy.context.window_manager.windows[0]
    area = next(area for area in window.screen.areas if area.type == "VIEW_3D")
    space = area.spaces.active
    with bpy.context.temp_override(window=window, area=area, region=area.regions[-1]):
        bpy.data.objects.remove(bpy.data.objects["Cube"])
        bpy.ops.mesh.primitive_cube_add(size=0.5, location=(0.75, -0.2, -1.0))
        bpy.ops.mesh.primitive_plane_add(size=8, location=(0, 0, -1.25))
        robin = Path(actor).with_name("robin.actor")
        robin.write_bytes(Path(actor).read_bytes())
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
    yield 2.0
    bpy.ops.wm.redraw_timer(type="DRAW_WIN_SWAP", iterations=2)
    Path(ready).write_text("ready")
    yield 60.0
    bpy.ops.wm.quit_blender()


main(*sys.argv[sys.argv.index("--") + 1 :])
