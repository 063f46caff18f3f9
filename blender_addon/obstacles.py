# SPDX-License-Identifier: GPL-3.0-or-later
"""What makes pictures of avatars impossible or wrong: said in the panel before a render, and refused in one."""

from __future__ import annotations

import bpy

from .coordinates import check_camera
from .errors import SceneError
from .operators import is_stand_in
from .properties import actor_objects, body_mesh

_SHOWS_BODIES = "BLENDER_WORKBENCH"  # draws what is hidden from the camera, too


def refuse(scene: bpy.types.Scene) -> None:
    """Raises SceneError with the first of them, and what to do about it."""
    if scene.camera is None:
        raise SceneError(f"Scene '{scene.name}' has no camera: choose one in its scene properties.")
    check_camera(scene.camera)
    if scene.render.engine == _SHOWS_BODIES:
        bodies = [mesh for mesh in map(body_mesh, actor_objects(scene)) if mesh is not None and is_stand_in(mesh)]
        if bodies:
            raise SceneError(
                "Workbench would show the bodies that cast the avatars' shadows: render with Cycles or EEVEE, or switch"
                f" off Cast Shadows of {', '.join(repr(mesh.name) for mesh in bodies)} under Avatar > Body."
            )


def obstacle(scene: bpy.types.Scene) -> str:
    """The same as a sentence; empty where nothing is in the way."""
    try:
        refuse(scene)
    except SceneError as error:
        return str(error)
    return ""
