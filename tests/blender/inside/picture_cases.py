"""What is seen in a picture of several avatars and a set."""

from __future__ import annotations

import math
import tempfile
from importlib import import_module
from pathlib import Path
from typing import Any

import bpy
import numpy as np
import pictures
import shot
from pictures import ADDON, render_error
from values import SIZE


def case_soft_edge_has_no_dark_fringe(actor: Path) -> None:
    """Half transparent green before, behind and beside a cube: over, in the right order, premultiplied."""
    shot.build(actor, {**shot.DEFAULTS})
    scene = bpy.context.scene
    session = import_module(f"{ADDON}.session")
    height, width = SIZE[1], SIZE[0]
    rgba = np.zeros((height, width, 4), np.float32)
    rgba[..., 1] = rgba[..., 3] = 0.5
    depth = np.full((height, width), 2.0, np.float32)
    depth[height // 2 :] = 3.5  # behind the cube, whose face is 2.75 m away
    planes = session.Planes(rgba, depth, np.zeros((height, width, 3), np.float32), rgba[..., 3])
    scene.timeline_markers.clear()
    shown = _still(scene, session, planes)
    cube, sky = np.array([0.9, 0.4, 0.1, 1]), np.array([0.2, 0.3, 0.8, 1])
    over = rgba[0, 0]
    x, top, bottom = 56, height // 2 - 4, height // 2 + 4
    np.testing.assert_allclose(shown[top, x], over + 0.5 * cube, atol=1e-3)
    np.testing.assert_allclose(shown[bottom, x], cube, atol=1e-3)
    np.testing.assert_allclose(shown[2, 2], over + 0.5 * sky, atol=1e-3)
    np.testing.assert_allclose(shown[-2, 2], over + 0.5 * sky, atol=1e-3)
    scene.render.film_transparent = True
    shown = _still(scene, session, planes)
    np.testing.assert_allclose(shown[top, x], over + 0.5 * cube, atol=1e-3)
    np.testing.assert_allclose(shown[2, 2], over, atol=1e-3)


def case_closer_actor_covers(actor: Path) -> None:
    """Two actors in one picture are sorted per pixel, and each has its own mask."""
    layers = import_module(f"{ADDON}.layers")
    near, far = np.full((1, 2), 1.0, np.float32), np.full((1, 2), 2.0, np.float32)
    near[0, 1] = 3.0  # in the second pixel it is the other way round
    red, green = np.zeros((1, 2, 4), np.float32), np.zeros((1, 2, 4), np.float32)
    red[...], green[...] = (0.5, 0, 0, 0.5), (0, 1, 0, 1)
    normals = np.zeros((1, 2, 3), np.float32)
    picture = layers.combine(
        [layers.Layer(red, near, normals), layers.Layer(green, far, normals)],
        [red[..., 3], green[..., 3]],
        2,
        1,
    )
    np.testing.assert_allclose(picture.rgba[0], [(0.5, 0.5, 0, 1), (0, 1, 0, 1)])
    np.testing.assert_allclose(picture.depth[0], [1, 2])
    np.testing.assert_allclose(picture.masks[0][0], [0.5, 0])
    np.testing.assert_allclose(picture.masks[1][0], [0.5, 1])


def case_hidden_actor_is_not_rendered(actor: Path) -> None:
    shot.build(actor, {**shot.DEFAULTS})
    scene = bpy.context.scene
    rig = next(o for o in scene.objects if o.avatar.actor_path)
    rig.avatar.actor_path = str(actor.with_name("missing.actor"))
    assert "does not exist" in render_error()
    rig.hide_render = True
    assert render_error() == ""
    rig.hide_render = False
    rig.users_collection[0].hide_render = True
    assert render_error() == ""


def case_stand_in_casts_a_shadow_and_is_not_seen(actor: Path) -> None:
    shot.build(actor, {**shot.DEFAULTS, "set_up": False, "bare": True})
    scene = bpy.context.scene
    mesh = next(o for o in scene.objects if o.avatar.actor_path).avatar.mesh
    assert not mesh.visible_camera and not mesh.hide_render  # Load Actor makes it one
    bpy.ops.mesh.primitive_plane_add(size=40, location=(0, 3, 0), rotation=(math.radians(90), 0, 0))
    bpy.ops.object.light_add(type="SUN", rotation=(math.radians(80), 0, math.radians(15)))
    bpy.context.object.data.energy = 5
    scene.render.use_compositing = False
    scene.timeline_markers.clear()
    scene.cycles.samples = 4
    scene.cycles.max_bounces = 1
    lit = _still(scene, None, None)
    bpy.context.view_layer.objects.active = mesh
    assert bpy.ops.avatar.stand_in() == {"FINISHED"}  # off
    plain = _still(scene, None, None)
    difference = plain[..., :3].mean(-1) - lit[..., :3].mean(-1)
    assert (difference > 0.2).mean() > 0.01, difference.max()  # a shadow on the wall
    height, width = difference.shape
    chest = difference[height // 2 - 1 : height // 2 + 1, width // 2 - 1 : width // 2 + 1]
    assert np.abs(chest).max() < 0.1, chest  # where the body stands there is wall


def _still(scene: bpy.types.Scene, session: Any, planes: Any) -> np.ndarray:
    """Frame 1 as [H, W, 4] floats, top row first; `planes` in place of what the worker would render."""
    with tempfile.TemporaryDirectory() as folder:
        path = str(Path(folder) / "still.exr")
        scene.frame_set(1)
        scene.render.filepath = path
        real = session.Session.render if session else None
        if session:
            session.Session.render = lambda *_, **__: planes
        try:
            bpy.ops.render.render(write_still=True)
        finally:
            if session:
                session.Session.render = real
        return pictures.read(path)
