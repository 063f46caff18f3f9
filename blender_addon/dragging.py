# SPDX-License-Identifier: GPL-3.0-or-later
"""An actor on its way into a 3D view: its picture follows the mouse, as large as the actor will stand there."""

from __future__ import annotations

import functools
import math
from pathlib import Path
from typing import Any

import bpy
import gpu
import numpy as np
from bpy_extras.view3d_utils import location_3d_to_region_2d
from gpu_extras.batch import batch_for_shader
from gpu_extras.presets import draw_texture_2d
from mathutils import Vector

from . import redraw, thumbnails
from .placing import ground_under

_CLICK = 5  # pixels that a hand moves in a click
_RING = 0.3  # metres, around the feet
_RING_POINTS = 33
_RING_COLOUR = (1.0, 0.6, 0.2, 1.0)
_OPACITY = 0.8
_SMALLEST = 16  # pixels of the picture's height, however far away
_GUESSED_HEIGHT = 1.7  # metres, of a file that does not say
_ROUND_THE_VIEW = ("MIDDLEMOUSE", "WHEEL", "TRACKPAD", "NDOF", "NUMPAD", "TIMER")  # beginnings of events' names
_HELP = "{}: release or click where it shall stand, Esc or right click to leave it"
_held: list[_Ghost] = []  # at most one


def under_way() -> bool:
    """Whether an actor is dragged."""
    return bool(_held)


def pick_up(path: Path) -> None:
    """Starts the drag of an actor, from within a button's press: once that is over, for Blender ends an operator's
    button when the operator begins, and would do so in the middle of it. Nothing while another is dragged."""
    if not _held:
        context = bpy.context
        place = {"window": context.window, "area": context.area, "region": context.region}
        bpy.app.timers.register(functools.partial(_start, path, place), first_interval=0)


class AVATAR_OT_place_actor(bpy.types.Operator):
    """Drag the actor into a 3D view, where it loads on what is under the mouse; or click, and click again there"""

    bl_idname = "avatar.place_actor"
    bl_label = "Place Actor"
    bl_options = frozenset({"INTERNAL"})  # what it does to the .blend, and its undo, is Load Actor's

    filepath: bpy.props.StringProperty(subtype="FILE_PATH", options={"SKIP_SAVE"})

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        if context.area is None or context.area.type != "VIEW_3D":
            cls.poll_message_set("Drag a picture of the library into a 3D view")
            return False
        return True

    def invoke(self, context: bpy.types.Context, event: bpy.types.Event) -> set[str]:
        self._ghost = _Ghost(Path(self.filepath))
        _held.append(self._ghost)
        pressed = event.value != "RELEASE"
        self._start = (event.mouse_x, event.mouse_y) if pressed else None  # None: in the hand by a click
        context.window.cursor_modal_set("HAND")
        context.workspace.status_text_set(_HELP.format(Path(self.filepath).stem))
        context.window_manager.modal_handler_add(self)
        redraw.views()
        return {"RUNNING_MODAL"}

    def modal(self, context: bpy.types.Context, event: bpy.types.Event) -> set[str]:
        if event.type in {"ESC", "RIGHTMOUSE"} and event.value == "PRESS":
            self.cancel(context)
            return {"CANCELLED"}
        if event.type == "MOUSEMOVE":
            self._ghost.follow(context, event)
        if event.type == "LEFTMOUSE":
            if self._start is not None and math.dist(self._start, (event.mouse_x, event.mouse_y)) < _CLICK:
                self._start = None
                return {"RUNNING_MODAL"}
            if self._start is not None or event.value == "PRESS":
                self._ghost.follow(context, event)
                # The press that began a drag has a release coming, for which Blender's button may wait.
                return self._place(context) | ({"PASS_THROUGH"} if event.value == "RELEASE" else set())
        return {"PASS_THROUGH" if event.type.startswith(_ROUND_THE_VIEW) else "RUNNING_MODAL"}

    def cancel(self, context: bpy.types.Context) -> None:
        """Also when Blender ends it: another file is opened, the window is closed."""
        _let_go()

    def _place(self, context: bpy.types.Context) -> set[str]:
        self.cancel(context)
        if self._ghost.place is None:
            return {"CANCELLED"}
        try:
            bpy.ops.avatar.load_actor(
                "EXEC_DEFAULT", True, filepath=self.filepath, standing=True, location=self._ghost.place
            )
        except RuntimeError as error:  # what the operator reports
            self.report({"ERROR"}, str(error).removeprefix("Error: ").strip())
            return {"CANCELLED"}
        return {"FINISHED"}


class _Ghost:
    """Draws the actor's picture, and a ring around its feet, where the mouse is in a 3D view."""

    def __init__(self, path: Path) -> None:
        self.place: Vector | None = None  # in the world; None: the mouse is in no 3D view
        self._region = 0
        self._picture, self._height = _cut_out(thumbnails.picture(path)), thumbnails.height(path) or _GUESSED_HEIGHT
        self._texture: Any = None
        self._handler = bpy.types.SpaceView3D.draw_handler_add(self._draw, (), "WINDOW", "POST_PIXEL")

    def follow(self, context: bpy.types.Context, event: bpy.types.Event) -> None:
        self.place, self._region = None, 0
        found = _view_under(context.window, event.mouse_x, event.mouse_y)
        if found is not None:
            area, region = found
            with context.temp_override(area=area, region=region):
                self.place = ground_under(context, (event.mouse_x - region.x, event.mouse_y - region.y))
            self._region = region.as_pointer()
        redraw.views()

    def vanish(self) -> None:
        bpy.types.SpaceView3D.draw_handler_remove(self._handler, "WINDOW")

    def _draw(self) -> None:
        context = bpy.context
        region, view = context.region, context.region_data
        if self.place is None or region.as_pointer() != self._region:
            return
        feet = location_3d_to_region_2d(region, view, self.place)
        up = Vector(view.view_matrix[1][:3])  # of the eye, which the picture faces
        head = location_3d_to_region_2d(region, view, self.place + self._height * up)
        if feet is None or head is None:
            return
        gpu.state.blend_set("ALPHA")
        self._draw_ring(region, view)
        if self._picture is not None:
            if self._texture is None:
                self._texture = _texture(self._picture)
            height = max((head - feet).length, _SMALLEST)
            width = height * self._texture.width / self._texture.height
            draw_texture_2d(self._texture, (feet.x - width / 2, feet.y), width, height)
        gpu.state.blend_set("NONE")

    def _draw_ring(self, region: Any, view: Any) -> None:
        angles = [2 * math.pi * i / (_RING_POINTS - 1) for i in range(_RING_POINTS)]
        ring = [self.place + _RING * Vector((math.cos(angle), math.sin(angle), 0)) for angle in angles]
        seen = [location_3d_to_region_2d(region, view, point) for point in ring]
        if None in seen:
            return
        shader = gpu.shader.from_builtin("POLYLINE_UNIFORM_COLOR")
        shader.bind()
        shader.uniform_float("viewportSize", gpu.state.viewport_get()[2:])
        shader.uniform_float("lineWidth", 2.0)
        shader.uniform_float("color", _RING_COLOUR)
        batch_for_shader(shader, "LINE_STRIP", {"pos": [(*point, 0.0) for point in seen]}).draw(shader)


def unregister() -> None:
    _let_go()  # Blender frees an operator that runs without a word to it
    _unregister()


register, _unregister = bpy.utils.register_classes_factory((AVATAR_OT_place_actor,))


def _start(path: Path, place: dict[str, Any]) -> None:
    """By a timer."""
    with bpy.context.temp_override(**place):
        if not _held and bpy.ops.avatar.place_actor.poll():
            bpy.ops.avatar.place_actor("INVOKE_DEFAULT", filepath=str(path))


def _let_go() -> None:
    if not _held:
        return
    _held.pop().vanish()
    for window in bpy.context.window_manager.windows:
        window.cursor_modal_restore()
        window.workspace.status_text_set(None)
    redraw.views()


def _view_under(window: bpy.types.Window, x: int, y: int) -> tuple[bpy.types.Area, bpy.types.Region] | None:
    """The 3D view at a place of the window, unless a sidebar, a toolbar or a header lies over it there."""
    for area in window.screen.areas:
        if area.type != "VIEW_3D":
            continue
        there = [found for found in area.regions if _holds(found, x, y)]
        if there and all(found.type == "WINDOW" for found in there):
            return area, there[0]
    return None


def _holds(region: bpy.types.Region, x: int, y: int) -> bool:
    return region.x <= x < region.x + region.width and region.y <= y < region.y + region.height


def _cut_out(picture: np.ndarray | None) -> np.ndarray | None:
    """What is to be seen in it, [H, W, 4]; None where nothing is."""
    if picture is None or not picture[..., 3].any():
        return None
    rows, columns = (np.flatnonzero(picture[..., 3].any(axis)) for axis in (1, 0))
    return picture[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]


def _texture(picture: np.ndarray) -> gpu.types.GPUTexture:
    """Of [H, W, 4] uint8, top row first."""
    pixels = picture[::-1].astype(np.float32) / 255 * (1, 1, 1, _OPACITY)
    data = gpu.types.Buffer("FLOAT", pixels.size, pixels.astype(np.float32).ravel())
    return gpu.types.GPUTexture((picture.shape[1], picture.shape[0]), format="RGBA8", data=data)
