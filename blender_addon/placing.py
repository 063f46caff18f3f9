# SPDX-License-Identifier: GPL-3.0-or-later
"""Where something that is dropped into a 3D view stands."""

from __future__ import annotations

import bpy
from bpy_extras.view3d_utils import region_2d_to_location_3d, region_2d_to_origin_3d, region_2d_to_vector_3d
from mathutils import Vector
from mathutils.geometry import intersect_line_plane

_FARTHEST = 100.0  # metres from the eye: a view along the ground meets it nowhere


def ground_under(context: bpy.types.Context, mouse: tuple[int, int]) -> Vector:
    """The surface under the mouse (pixels of the region), else the floor there, else as deep as the 3D cursor is."""
    region, view = context.region, context.region_data
    eye, ray = region_2d_to_origin_3d(region, view, mouse), region_2d_to_vector_3d(region, view, mouse)
    hit, place, *_ = context.scene.ray_cast(context.evaluated_depsgraph_get(), eye, ray)
    if hit:
        return place
    floor = intersect_line_plane(eye, eye + ray, Vector(), Vector((0, 0, 1)))
    if floor is not None and 0 < (floor - eye).dot(ray) < _FARTHEST:
        return floor
    return region_2d_to_location_3d(region, view, mouse, context.scene.cursor.location)
