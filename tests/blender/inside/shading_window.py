"""A live avatar between two objects, over Solid, Material Preview and EEVEE. Arguments: the actor file, then looks.

A look is SHADING-TRANSFORM-VIEW, such as RENDERED-AgX-CAMERA; one that ends with -BARE has no overlays. Writes LOOK,
with LOOK.npz (the picture that is drawn), when it was drawn; awaits LOOK.taken.
"""

from __future__ import annotations

import importlib
import json
import math
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import bpy
import numpy as np
from bpy_extras.view3d_utils import location_3d_to_region_2d

sys.path.insert(0, __file__.rpartition("/")[0])
import steps

GREEN, RED = (0.05, 0.6, 0.1), (0.7, 0.05, 0.05)
QUIET = ("show_floor", "show_axis_x", "show_axis_y", "show_bones", "show_extras", "show_text", "show_cursor")


def scenario(actor: str, looks: list[str]) -> Iterator[float]:
    window, area, region = steps.view3d()
    space, scene = area.spaces.active, bpy.context.scene
    with bpy.context.temp_override(window=window, area=area, region=region):
        bpy.ops.screen.area_split(direction="VERTICAL", factor=0.6)
        next(found for found in window.screen.areas if found.type == "VIEW_3D" and found != area).type = "CONSOLE"
        for name in ("Cube", "Light"):
            bpy.data.objects.remove(bpy.data.objects[name])
        bpy.ops.mesh.primitive_cube_add(size=0.5, location=(0.2, -0.6, -0.5))
        bpy.context.object.data.materials.append(glowing(GREEN))
        bpy.ops.mesh.primitive_plane_add(size=2, location=(-1, 0.6, 0), rotation=(math.pi / 2, 0, 0))
        bpy.context.object.data.materials.append(glowing(RED))
        bpy.ops.avatar.load_actor(filepath=actor)
        bpy.ops.object.select_all(action="DESELECT")
        bpy.ops.avatar.live()
    scene.avatar.live_seconds = 100  # down to the last pixel
    scene.camera.location, scene.camera.rotation_euler = (0, -4, -0.2), (math.pi / 2, 0, 0)
    scene.world, scene.eevee.taa_samples = None, 1
    engines = {item.identifier for item in scene.render.bl_rna.properties["engine"].enum_items}
    scene.render.engine = "BLENDER_EEVEE_NEXT" if "BLENDER_EEVEE_NEXT" in engines else "BLENDER_EEVEE"
    space.shading.light, space.show_gizmo = "FLAT", False
    for part in QUIET:
        setattr(space.overlay, part, False)
    space.region_3d.view_distance, space.region_3d.view_location = 4, (0, 0, -0.2)
    space.region_3d.view_rotation = scene.camera.rotation_euler.to_quaternion()
    yield 0.5
    for look in looks:
        shading, transform, perspective, *rest = look.split("-")
        before = viewport().shown(space)
        moved = space.region_3d.view_perspective != perspective
        space.shading.type, space.region_3d.view_perspective = shading, perspective
        scene.view_settings.view_transform, space.overlay.show_overlays = transform, not rest
        drawings = 0
        while drawings < 2 or not fine(space, before if moved else None):
            area.tag_redraw()
            yield 0.05
            drawings += 1
        found = viewport().shown(space)
        np.savez(f"{look}.npz", rgba=found.picture.rgba, depth=found.picture.depth)
        place = {"x": region.x, "y": window.height - region.y - region.height, "frame": frame(scene, region, space)}
        steps.tell(look, json.dumps(place | {"said": viewport().sentence(space)}))
        while not Path(f"{look}.taken").exists():
            area.tag_redraw()
            yield 0.05


def fine(space: Any, before: Any) -> bool:
    """Whether the whole picture is drawn of what the view shows now; before: of another view."""
    found = viewport().shown(space)
    if found is None or (before is not None and found.view == before.view):
        return False
    return bool(found.view.jobs) and found.share == 1


def frame(scene: bpy.types.Scene, region: Any, space: Any) -> list[list[float]]:
    """The corners of the camera's frame, in pixels of the region from its bottom left."""
    corners = [scene.camera.matrix_world @ corner for corner in scene.camera.data.view_frame(scene=scene)]
    return [list(location_3d_to_region_2d(region, space.region_3d, corner)) for corner in corners]


def viewport() -> Any:
    return importlib.import_module(f"{steps.EXTENSION}.viewport")


def glowing(colour: tuple[float, float, float]) -> bpy.types.Material:
    """The same without lights, whatever the shading."""
    material = bpy.data.materials.new("glowing")
    material.diffuse_color, material.use_nodes = (*colour, 1), True
    tree = material.node_tree
    emission = tree.nodes.new("ShaderNodeEmission")
    emission.inputs["Color"].default_value = (*colour, 1)
    output = next(node for node in tree.nodes if node.type == "OUTPUT_MATERIAL")
    tree.links.new(emission.outputs["Emission"], output.inputs["Surface"])
    return material


given_actor, *given_looks = sys.argv[sys.argv.index("--") + 1 :]
steps.run(scenario(given_actor, given_looks))
