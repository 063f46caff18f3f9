"""Live avatars in Blender's window, and Esc in a render. Arguments: the actor file, how many frames are scrubbed.

Writes, each when it is reached: `first` with first.npz (the picture that is shown, and where), `scrub`, `refused`,
`off`, `rendering` (then a key is awaited) and `stopped`.
"""

from __future__ import annotations

import importlib
import json
import math
import sys
import time
from collections.abc import Iterator
from typing import Any

import bpy
import numpy as np

sys.path.insert(0, __file__.rpartition("/")[0])
import steps

PICTURE_SECONDS = 100  # the most that any picture may take


def scenario(actor: str, frames: int) -> Iterator[float]:
    window, area, region = steps.view3d()
    space = area.spaces.active
    scene = bpy.context.scene
    with bpy.context.temp_override(window=window, area=area, region=region):
        bpy.data.objects.remove(bpy.data.objects["Cube"])
        bpy.ops.mesh.primitive_cube_add(size=0.4, location=(0, -0.6, -0.4))
        bpy.ops.avatar.load_actor(filepath=actor)
        rig = bpy.context.object
        wave(rig, frames)
        bpy.ops.avatar.live()
        scene.avatar.live_seconds = PICTURE_SECONDS  # down to the last pixel
        space.overlay.show_overlays = True
        for part in (
            "show_floor",
            "show_axis_x",
            "show_axis_y",
            "show_bones",
            "show_extras",
            "show_text",
            "show_cursor",
        ):
            setattr(space.overlay, part, False)
        space.show_gizmo = False
        space.region_3d.view_distance, space.region_3d.view_location = 4, (0, 0, -0.2)
        space.region_3d.view_rotation = (math.sqrt(0.5), math.sqrt(0.5), 0, 0)  # from the front
        space.region_3d.view_perspective = "PERSP"
    yield from until(lambda: fine(space), area)
    found = viewport().shown(space)
    np.savez("first.npz", rgba=found.picture.rgba, depth=found.picture.depth)
    place = {"x": region.x, "y": window.height - region.y - region.height, "share": found.share}
    yield 0.5
    steps.tell("first", json.dumps(place))
    yield from until(lambda: exists("first.taken"), area)
    yield from scrub(space, area, scene, frames)
    space.region_3d.view_perspective = "ORTHO"
    yield from until(lambda: "perspective" in viewport().sentence(space), area)
    steps.tell("refused", viewport().sentence(space))
    space.region_3d.view_perspective = "PERSP"
    with bpy.context.temp_override(window=window, area=area, region=region):
        bpy.ops.avatar.live()
        steps.tell("off", bpy.data.objects[rig.children[0].name].display_type)
        bpy.ops.avatar.setup_compositing()
    yield from escape(window, scene)


def scrub(space: Any, area: Any, scene: Any, frames: int) -> Iterator[float]:
    """Goes through the timeline; each frame's own pose must come to be seen."""
    poses, memory = [], []
    for frame in range(1, frames + 1):
        before = viewport().shown(space).view
        scene.frame_set(frame)
        yield from until(lambda before=before: viewport().shown(space).view != before, area)
        poses.append(viewport().shown(space).view.jobs[0].controls["pose"][16][2])  # the left upper arm
        memory.append(resident())
    steps.tell("scrub", json.dumps({"angles": poses, "memory": memory}))


def escape(window: Any, scene: Any) -> Iterator[float]:
    ended: list[str] = []
    bpy.app.handlers.render_cancel.append(lambda *_: ended.append("cancelled"))
    bpy.app.handlers.render_complete.append(lambda *_: ended.append("completed"))
    bpy.context.preferences.view.render_display_type = "NONE"
    scene.render.engine = "CYCLES"
    scene.cycles.samples = 1
    scene.render.resolution_x, scene.render.resolution_y = 2048, 2048
    scene.camera.location, scene.camera.rotation_euler = (0, -1.2, 0), (math.pi / 2, 0, 0)
    with bpy.context.temp_override(window=window):
        bpy.ops.render.render("INVOKE_DEFAULT")
    yield 1.0
    steps.tell("rendering")
    began = time.monotonic()
    while not ended:
        yield 0.05
    steps.tell("stopped", json.dumps({"how": ended[0], "seconds": time.monotonic() - began}))
    yield 1.0


def wave(rig: Any, frames: int) -> None:
    """The left arm turns by the same angle in every frame."""
    bone = rig.pose.bones["left_shoulder"]
    for frame, angle in ((1, 0.0), (frames, -1.2)):
        bone.rotation_mode = "XYZ"
        bone.rotation_euler = (0, 0, angle)
        bone.keyframe_insert("rotation_euler", frame=frame)


def until(met: Any, area: Any) -> Iterator[float]:
    deadline = time.monotonic() + PICTURE_SECONDS
    while not met():
        if time.monotonic() > deadline:
            raise TimeoutError("nothing happens in the viewport")
        area.tag_redraw()
        yield 0.02


def fine(space: Any) -> bool:
    """Whether the whole picture of what the view shows now is drawn."""
    found = viewport().shown(space)
    return found is not None and bool(found.view.jobs) and found.share == 1


def exists(name: str) -> bool:
    import os

    return os.path.exists(name)


def resident() -> float:
    """MB of memory that this Blender holds."""
    with open("/proc/self/statm") as statm:
        return int(statm.read().split()[1]) * 4096 / 1e6


def viewport() -> Any:
    return importlib.import_module(f"{steps.EXTENSION}.viewport")


given_actor, given_frames = sys.argv[sys.argv.index("--") + 1 :]
steps.run(scenario(given_actor, int(given_frames)))
