"""Whether avatars and Cycles see through the same camera."""

from __future__ import annotations

import math
from importlib import import_module
from pathlib import Path
from typing import Any

import bpy
import edges
import mathutils
import numpy as np
import shot
from pictures import ADDON, render_error, still

SAMPLES = 4  # a side, of a pixel that is drawn here


def a_cube(actor: Path, **options: Any) -> tuple[bpy.types.Scene, bpy.types.Object]:
    """A turned cube that Cycles renders alone, without noise but at its edges."""
    shot.build(actor, {**shot.DEFAULTS, "bare": True, **options})
    scene = bpy.context.scene
    scene.cycles.samples, scene.render.film_transparent = 64, True
    bpy.ops.mesh.primitive_cube_add(size=0.9, location=(0.3, 0.2, 0.1), rotation=(0.3, 0.5, 0.2))
    bpy.context.object.data.materials.append(edges.glow("white", (1, 1, 1)))
    return scene, bpy.context.object


def drawn(cube: bpy.types.Object, camera: dict[str, Any]) -> np.ndarray:
    """[H, W] coverage of the cube as a worker would see it from `camera`, whose world is y up."""
    width, height = camera["width"], camera["height"]
    x, y, z = np.array([cube.matrix_world @ vertex.co for vertex in cube.data.vertices]).T
    points = np.array(camera["world_to_camera"]).reshape(4, 4) @ (x, z, -y, np.ones_like(x))
    points = np.array(camera["K"]).reshape(3, 3) @ points[:3]
    u, v = points[:2] / points[2]
    rows, columns = (np.arange(0.5, SAMPLES * side) / SAMPLES for side in (height, width))
    inside = np.zeros((len(rows), len(columns)), bool)
    for face in cube.data.polygons:
        corners = list(face.vertices)
        sides = []
        for a, b in zip(corners, corners[1:] + corners[:1]):
            sides.append((u[b] - u[a]) * (rows[:, None] - v[a]) - (v[b] - v[a]) * (columns - u[a]) > 0)
        inside |= np.all(sides, 0) | ~np.any(sides, 0)
    return inside.reshape(height, SAMPLES, width, SAMPLES).mean((1, 3)).astype(np.float32)


def both(scene: bpy.types.Scene, cube: bpy.types.Object, frame: int = 1) -> tuple[np.ndarray, np.ndarray]:
    """[H, W] coverage of the cube by Cycles, and in the avatars' layer when the worker draws the cube."""
    session = import_module(f"{ADDON}.session")
    real = session.Session.render

    def draw(self: Any, path: Any, controls: Any, camera: dict[str, Any], *_: Any) -> Any:
        mask = drawn(cube, camera)
        return session.Planes(np.stack([mask] * 4, -1), mask, np.zeros((*mask.shape, 3), np.float32), mask)

    session.Session.render = draw
    compositor = import_module(f"{ADDON}.compositor")
    source = compositor.merge_node(scene).inputs["Scene"].links[0].from_node
    try:
        pictures = [still(scene, n.outputs["Alpha"], frame) for n in (source, compositor.avatar_layer(scene))]
    finally:
        session.Session.render = real
    return pictures[0][..., 0], pictures[1][..., 0]


def case_cycles_and_avatars_see_the_same(actor: Path) -> None:
    """Shift, fits, pixel aspect, percentage, border, crop, a camera by marker: the cube lies on itself."""
    fits: list[dict[str, Any]] = [
        {"shift": (0.2, -0.1)},
        {"fit": "VERTICAL", "size": (50, 90), "aspect": (1, 2)},
        {"fit": "HORIZONTAL", "shift": (-0.1, 0.2), "size": (90, 64), "aspect": (2, 1)},
        {"percent": 50, "size": (192, 130)},
        {"border": (0.3, 0.2, 0.7, 0.9)},
        {"border": (0.3, 0.2, 0.7, 0.9), "crop": True, "shift": (0.1, 0.1)},
        {"frame": 3},  # camera B
    ]
    scene, cube = a_cube(actor)
    data, render = bpy.data.objects["A"].data, scene.render
    for fit in fits:
        render.resolution_percentage = fit.get("percent", 100)
        render.use_border, render.use_crop_to_border = "border" in fit, fit.get("crop", False)
        sides = ("border_min_x", "border_min_y", "border_max_x", "border_max_y")
        for side, share in zip(sides, fit.get("border", (0, 0, 1, 1))):
            setattr(render, side, share)
        data.shift_x, data.shift_y = fit.get("shift", (0, 0))
        data.sensor_fit = fit.get("fit", "AUTO")
        render.resolution_x, render.resolution_y = fit.get("size", (96, 64))
        render.pixel_aspect_x, render.pixel_aspect_y = fit.get("aspect", (1, 1))
        theirs, ours = both(scene, cube, fit.get("frame", 1))
        assert theirs.shape == ours.shape and (theirs > 0.5).sum() > 50 and (theirs < 0.5).sum() > 50, fit
        assert np.abs(theirs - ours).max() < 0.3 and np.abs(theirs - ours).mean() < 0.004, (
            fit,
            np.abs(theirs - ours).max(),
            np.abs(theirs - ours).mean(),
        )


def case_overscan_adds_a_border_and_nothing_else(actor: Path) -> None:
    """The middle of the larger picture is the frame, of the set and of the avatar, through each camera."""
    scene, cube = a_cube(actor, quality="preview")
    cube.location.x = -0.4
    cameras = [bpy.data.objects[name].data for name in "AB"]
    cameras[0].shift_x = 0.1
    usual = [(c.sensor_width, c.sensor_height, c.shift_x, c.shift_y) for c in cameras]
    frames = [still(scene, frame=number) for number in (1, 3)]
    height, width = frames[0].shape[:2]
    assert bpy.ops.avatar.overscan(percent=30) == {"FINISHED"}
    assert bpy.ops.avatar.overscan(percent=10) == {"FINISHED"}
    for number, frame in zip((1, 3), frames):
        wide = still(scene, frame=number)
        assert wide.shape[:2] == (height + 12, width + 20)
        difference = np.abs(wide[6:-6, 10:-10] - frame).max(-1)
        assert np.quantile(difference, 0.98) < 1e-3 and np.quantile(difference, 0.99) < 0.03, number
    late = bpy.data.objects.new("Late", bpy.data.cameras.new("Late"))
    scene.collection.objects.link(late)
    assert import_module(f"{ADDON}.overscan").left_out(scene) == ["Late"]
    bpy.data.objects.remove(late)
    assert bpy.ops.avatar.overscan(percent=0) == {"FINISHED"}
    assert (scene.render.resolution_x, scene.render.resolution_y) == (width, height)
    again = [(c.sensor_width, c.sensor_height, c.shift_x, c.shift_y) for c in cameras]
    np.testing.assert_allclose(again, usual, rtol=1e-6)
    cameras[0].keyframe_insert("shift_x", frame=1)
    try:
        bpy.ops.avatar.overscan(percent=10)
    except RuntimeError as error:
        assert "keys or a driver on its shift x" in str(error)
    else:
        raise AssertionError("a keyed shift was scaled")
    assert math.isclose(scene.render.resolution_x, width)


def case_camera_agrees_with_blender(actor: Path) -> None:
    """A point of the world lands on the pixel that Blender's own projection says, for every kind of fit."""
    from bpy_extras.object_utils import world_to_camera_view

    shot.build(actor, {**shot.DEFAULTS, "set_up": False})
    coordinates = import_module(f"{ADDON}.coordinates")
    scene, point = bpy.context.scene, mathutils.Vector((0.3, -0.4, 0.2))
    camera = bpy.data.objects["B"]
    camera.rotation_euler = (1.3, 0.1, 0.2)
    camera.scale = (2, 2, 2)
    for fit, size, aspect in (
        ("AUTO", (96, 64), (1, 1)),
        ("HORIZONTAL", (50, 90), (1, 2)),
        ("VERTICAL", (96, 64), (2, 1)),
    ):
        camera.data.sensor_fit = fit
        scene.render.resolution_x, scene.render.resolution_y = size
        scene.render.pixel_aspect_x, scene.render.pixel_aspect_y = aspect
        graph = bpy.context.evaluated_depsgraph_get()
        graph.update()
        evaluated = camera.evaluated_get(graph)
        wanted = world_to_camera_view(scene, evaluated, point)
        region = coordinates.Region(*size, 3, 5, size[0] - 3, size[1] - 5)
        given = coordinates.camera_controls(evaluated, graph, scene.render, region)
        view = np.array(given["world_to_camera"]).reshape(4, 4)
        local = view @ [point.x, point.z, -point.y, 1]  # the point in avatar_core's world
        u, v, _ = np.array(given["K"]).reshape(3, 3) @ (local[:3] / local[2])
        expected = (wanted.x * size[0] - 3, (1 - wanted.y) * size[1] - 5)
        assert abs(u - expected[0]) < 1e-3 and abs(v - expected[1]) < 1e-3, (fit, (u, v), expected)
        assert abs(local[2] - wanted.z) < 1e-4, (local[2], wanted.z)


def case_camera_that_is_not_linked(actor: Path) -> None:
    """A camera made after set-up is used as it stands in the frame, or refused; Refresh takes it in."""
    shot.build(actor, {**shot.DEFAULTS})
    scene = bpy.context.scene
    late = bpy.data.objects.new("Late", bpy.data.cameras.new("Late"))
    scene.collection.objects.link(late)
    for frame, place in ((1, (1, -4, 0)), (2, (9, -4, 0))):
        late.location, late.rotation_euler = place, (math.radians(90), 0, 0)
        late.keyframe_insert("location", frame=frame)
    scene.timeline_markers.clear()
    scene.camera = late
    assert import_module(f"{ADDON}.compositor").missing_links(scene) == ["Late"]
    session = import_module(f"{ADDON}.session")
    real, asked = session.Session.render, []

    def record(self: Any, path: Any, controls: Any, camera: dict, *rest: Any) -> Any:
        asked.append(camera)
        return real(self, path, controls, camera, *rest)

    session.Session.render = record
    try:
        message = render_error()
        assert "'Late'" in message if message else asked, message
        assert bpy.ops.avatar.setup_compositing() == {"FINISHED"}  # Refresh
        assert render_error() == ""
    finally:
        session.Session.render = real
    for camera in asked:
        assert abs(camera["world_to_camera"][3] + 1) < 1e-5, camera  # x = 1: frame 1
