"""A first shot in Blender's window, step by step, as docs/first_shot.md tells it. Argument: the actor file.

For each step a file of its name is written when the window can be photographed; NAME.taken is awaited.
"""

from __future__ import annotations

import importlib
import math
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import bpy

sys.path.insert(0, __file__.rpartition("/")[0])
import steps

SCROLLED = 8  # turns of the mouse wheel, in the sidebar
FINE = 0.5  # the share of a side's pixels that is fine enough for a photograph
FRAME = 10  # of the walk, that is shown


def scenario(actor: str) -> Iterator[float]:
    worker = os.environ.pop("AVATAR_WORKER")
    bpy.context.preferences.system.use_online_access = True
    window, area, region = steps.view3d()
    space, scene = area.spaces.active, bpy.context.scene
    robin = Path(actor).with_name("robin.actor")
    robin.write_bytes(Path(actor).read_bytes())
    space.show_region_ui = True
    yield 1.0
    next(region for region in area.regions if region.type == "UI").active_panel_category = "Avatar"
    area.tag_redraw()
    yield from steps.photographed("install")
    os.environ["AVATAR_WORKER"] = worker  # what the button would have installed
    here: Any = {"window": window, "area": area, "region": region}
    with bpy.context.temp_override(**here):
        bpy.ops.avatar.check_worker()  # as the button does in the end
        shelf = importlib.import_module(f"{steps.EXTENSION}.library")
        (shelf.own_folder() / "robin.actor").write_bytes(robin.read_bytes())  # who comes with the renderer
    while not shelf.shelf.found:
        shelf.shelf.look()
        yield 0.2
    with bpy.context.temp_override(**here):
        bpy.data.objects.remove(bpy.data.objects["Cube"])
        bpy.ops.wm.save_as_mainfile(filepath=str(robin.with_name("first_shot.blend")))
        bpy.ops.avatar.load_actor(filepath=str(robin))
    look(space, (0.35, 0, 0), 4.4)
    yield from steps.photographed("load")
    with bpy.context.temp_override(**here):
        bpy.ops.avatar.sample_motion(clip="walk")
        scene.frame_end = 107
        scene.frame_set(FRAME)
        bpy.ops.mesh.primitive_plane_add(size=6)
        bpy.ops.mesh.primitive_cube_add(size=0.5, location=(0.1, -0.55, 0.25))
        select(bpy.data.objects["robin_rig"])
    look(space, (0.35, 0, 0.9), 4.4)
    yield from steps.photographed("motion")
    scene.avatar.live_seconds = 10
    with bpy.context.temp_override(**here):
        bpy.ops.avatar.live()
    space.overlay.show_bones = False
    scroll(window, area)
    viewport = importlib.import_module(f"{steps.EXTENSION}.viewport")
    for _ in range(steps.WAIT):
        found = viewport.shown(space)
        if found is not None and found.share >= FINE:
            break
        area.tag_redraw()
        yield 0.1
    yield from steps.photographed("live")
    with bpy.context.temp_override(**here):
        bpy.ops.avatar.live()
        bpy.ops.avatar.setup_compositing()
    space.overlay.show_bones = True
    scroll(window, area)
    yield from steps.photographed("compositing")
    shoot(scene, robin.with_name("rendered.png"))
    bpy.ops.render.render(write_still=True)
    steps.tell("rendered")


def scroll(window: Any, area: Any) -> None:
    """The sidebar to its lower panels."""
    sidebar = next(region for region in area.regions if region.type == "UI")
    with bpy.context.temp_override(window=window, area=area, region=sidebar):
        for _ in range(SCROLLED):
            bpy.ops.view2d.scroll_down()


def look(space: Any, at: tuple[float, float, float], distance: float) -> None:
    view = space.region_3d
    view.view_distance, view.view_location, view.view_rotation = distance, at, (0.76, 0.6, 0.14, 0.2)
    view.view_perspective = "PERSP"


def select(found: Any) -> None:
    bpy.ops.object.select_all(action="DESELECT")
    found.select_set(True)
    bpy.context.view_layer.objects.active = found


def shoot(scene: Any, target: Path) -> None:
    """The camera in front of the avatar, and a small picture by Cycles."""
    camera = scene.camera
    camera.location, camera.rotation_euler = (1.6, -3.4, 1.5), (math.radians(80), 0, math.radians(25))
    camera.data.lens = 40
    scene.render.engine, scene.cycles.samples = "CYCLES", 64
    scene.cycles.use_denoising = False
    scene.render.resolution_x, scene.render.resolution_y, scene.render.resolution_percentage = 720, 540, 100
    scene.render.filepath = str(target)


steps.run(scenario(sys.argv[sys.argv.index("--") + 1]))
