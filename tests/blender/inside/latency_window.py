"""How soon the 3D view shows a new pose. Arguments: the actor file, how many poses. Writes `latency`, a JSON object.

Each pose is set, and the time until a first, coarse picture of it is drawn is taken; then the finer ones are awaited.
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

sys.path.insert(0, __file__.rpartition("/")[0])
import steps

PATIENCE = 60.0  # seconds for a picture
SETTLED = 0.6  # seconds without a finer picture


def scenario(actor: str, poses: str) -> Iterator[float]:
    window, area, region = steps.view3d()
    space, scene = area.spaces.active, bpy.context.scene
    viewport = importlib.import_module(f"{steps.EXTENSION}.viewport")
    with bpy.context.temp_override(window=window, area=area, region=region):
        bpy.data.objects.remove(bpy.data.objects["Cube"])
        bpy.ops.avatar.load_actor(filepath=actor)
        rig = bpy.context.object
        bpy.ops.avatar.live()
        space.region_3d.view_distance, space.region_3d.view_location = 4, (0, 0, -0.2)
        space.region_3d.view_rotation = (math.sqrt(0.5), math.sqrt(0.5), 0, 0)
        space.region_3d.view_perspective = "PERSP"
    bone = rig.pose.bones["left_shoulder"]
    bone.rotation_mode = "XYZ"
    yield from settled(viewport, space, area)
    seconds, shares = [], []
    for number in range(int(poses)):
        before = viewport.shown(space)
        bone.rotation_euler.z = -0.05 * (number + 1)
        began = time.perf_counter()
        area.tag_redraw()
        while viewport.shown(space) is before:
            assert time.perf_counter() - began < PATIENCE, "nothing happens in the viewport"
            yield 0.002
        seconds.append(time.perf_counter() - began)
        shares.append(viewport.shown(space).share)
        yield from settled(viewport, space, area)
    told = {"region": [region.width, region.height], "seconds": seconds, "shares": shares}
    steps.tell("latency", json.dumps({**told, "blender": bpy.app.version_string, "scene": scene.name}))
    yield 1.0


def settled(viewport: Any, space: Any, area: Any) -> Iterator[float]:
    last, since = None, time.perf_counter()
    while last is None or time.perf_counter() - since < SETTLED:
        yield 0.05
        area.tag_redraw()
        if viewport.shown(space) is not last:
            last, since = viewport.shown(space), time.perf_counter()
        assert time.perf_counter() - since < PATIENCE, viewport.sentence(space)


steps.run(scenario(*sys.argv[sys.argv.index("--") + 1 :]))
