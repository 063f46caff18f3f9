# SPDX-License-Identifier: GPL-3.0-or-later
"""Live avatars in the 3D view, behind and before the scene's objects, whatever the shading.

When something changed, a handler asks for a picture of what the views will show (live.py renders in a thread); where a
view itself moved, the draw handler does. It draws the newest picture with its depths, and the posed body until there is
one. Nothing of the file is written while drawing.
"""

from __future__ import annotations

import contextlib
import time
from dataclasses import dataclass
from typing import Any

import blf
import bpy
import numpy as np
from bpy.app.handlers import persistent
from mathutils import Matrix

from . import session, shot
from .coordinates import Region, rigid, view_controls
from .errors import SceneError
from .gpu_picture import GpuBody, GpuPicture
from .live import Live, Shown, View
from .pose import read_controls
from .properties import actor_file, actor_objects, body_mesh

_TICK = 0.01  # seconds between two looks for a new picture
_PATIENCE = 0.4  # seconds that the picture of an earlier pose stays
_GRACE = 0.05  # seconds that drawing waits for a picture that is about to come
_COVERING = "Overlays are off: avatars cover all objects."
_STANDING_IN = "BOUNDS"  # how Blender draws a body while its avatar is live
_views: dict[int, _Space] = {}
_handlers: list[Any] = []


@dataclass(frozen=True)
class _Eye:
    """How a 3D view sees the scene."""

    width: int  # pixels
    height: int
    pose: np.ndarray  # [4, 4] of the view's camera, in Blender's world
    projection: np.ndarray  # [4, 4] Blender's window_matrix
    perspective: bool
    camera: Matrix | None  # of the camera object that is looked through


@dataclass
class _Space:
    """One 3D view."""

    live: Live
    eye: _Eye | None = None  # when it was drawn last
    error: str = ""  # of reading the scene
    drawn: Shown | None = None
    picture: GpuPicture | None = None  # of `drawn`
    bodies: tuple[View, list[GpuBody]] | None = None  # that stand in
    late: bool = False  # what is drawn is of an earlier pose
    covering: bool = False  # Blender has no depths there to test with
    said: str = ""  # the sentence that is drawn

    @property
    def sentence(self) -> str:
        return self.error or self.live.error or (_COVERING if self.covering else "")

    @property
    def outdated(self) -> bool:
        """Whether drawing it again would show something else."""
        waited = time.monotonic() - self.live.asked > _PATIENCE
        return self.live.shown is not self.drawn or self.said != self.sentence or (self.late and waited)


def set_live(scene: bpy.types.Scene, on: bool) -> None:
    """Switches the live avatars of a scene; their bodies are boxes meanwhile, and what they were afterwards."""
    scene.avatar.live = on
    for actor in actor_objects(scene):
        mesh = body_mesh(actor)
        if mesh is None or mesh.library is not None:
            continue
        if on and mesh.display_type != _STANDING_IN:
            mesh.avatar.display = mesh.display_type
            mesh.display_type = _STANDING_IN
        elif not on and mesh.avatar.display:
            mesh.display_type, mesh.avatar.display = mesh.avatar.display, ""


def shown(space: bpy.types.SpaceView3D) -> Shown | None:
    """The picture that a 3D view shows; for scripts."""
    found = _views.get(space.as_pointer())
    return found.drawn if found is not None else None


def sentence(space: bpy.types.SpaceView3D) -> str:
    """Why a 3D view shows no avatars, or covers objects with them; empty where all is well."""
    found = _views.get(space.as_pointer())
    return found.sentence if found is not None else ""


def register() -> None:
    if bpy.app.background:
        return
    add = bpy.types.SpaceView3D.draw_handler_add
    _handlers.append(add(_draw, (), "WINDOW", "POST_VIEW"))
    _handlers.append(add(_draw_text, (), "WINDOW", "POST_PIXEL"))
    for event, reaction in _reactions():
        event.append(reaction)


def unregister() -> None:
    for event, reaction in _reactions():
        if reaction in event:
            event.remove(reaction)
    while _handlers:
        bpy.types.SpaceView3D.draw_handler_remove(_handlers.pop(), "WINDOW")
    if bpy.app.timers.is_registered(_tick):
        bpy.app.timers.unregister(_tick)
    for space in _views.values():
        space.live.close()
    _views.clear()


def _reactions() -> list[tuple[Any, Any]]:
    events = bpy.app.handlers
    return [
        (events.load_pre, _forget_all),
        (events.depsgraph_update_post, _ask_ahead),
        (events.frame_change_post, _ask_ahead),
    ]


def _draw() -> None:
    context = bpy.context
    if not context.scene.avatar.live or context.region_data is None:
        return
    key = context.space_data.as_pointer()
    if key not in _views:
        _views[key] = _Space(Live(_render, lambda: session.current.contended, session.LIVE_THREAD))
    space = _views[key]
    space.covering = _covering(context.space_data)
    try:
        session.current.settle()
        space.eye = _eye(context)
        view, space.error = _view(context.scene, context.space_data, space.eye, context.evaluated_depsgraph_get()), ""
    except SceneError as error:
        space.error = str(error)
        return
    _ask(space, view)
    space.live.wait_for(view, _GRACE)
    newest = space.live.shown
    if newest is not space.drawn:
        space.drawn, space.picture = newest, GpuPicture(newest.picture) if newest is not None else None
    space.late = newest is not None and newest.view != view and newest.view.same_camera(view)
    on_time = space.late and time.monotonic() - space.live.asked < _PATIENCE
    if space.picture is not None and newest is not None and (newest.view == view or on_time):
        space.bodies = None
        space.picture.draw(context.region_data.window_matrix, tested=not space.covering)
        return
    space.late = False
    if not (space.error or space.live.error):
        _draw_bodies(context, space, view)


@persistent
def _ask_ahead(scene: bpy.types.Scene, depsgraph: bpy.types.Depsgraph) -> None:
    """Asks for what the views are about to show: while Blender draws all else, the picture is on its way."""
    if not scene.avatar.live or depsgraph.mode == "RENDER":
        return
    for window in bpy.context.window_manager.windows:
        for area in window.screen.areas if window.scene == scene else ():
            shown = area.spaces.active
            space = _views.get(shown.as_pointer()) if area.type == "VIEW_3D" else None
            if space is None or space.eye is None or space.eye.camera != _camera(shown):
                continue  # it was not drawn yet, or moves with its camera
            with contextlib.suppress(SceneError):  # drawing says it
                _ask(space, _view(scene, shown, space.eye, depsgraph))


def _ask(space: _Space, view: View) -> None:
    space.live.ask(view)
    if not bpy.app.timers.is_registered(_tick):
        bpy.app.timers.register(_tick, first_interval=_TICK)


def _eye(context: bpy.types.Context) -> _Eye:
    region3d, region = context.region_data, context.region
    pose = rigid(np.linalg.inv(np.array(region3d.view_matrix, np.float64)))
    projection = np.array(region3d.window_matrix, np.float64)
    return _Eye(region.width, region.height, pose, projection, region3d.is_perspective, _camera(context.space_data))


def _camera(space: bpy.types.SpaceView3D) -> Matrix | None:
    """Where the camera is that a 3D view looks through."""
    looks = space.region_3d.view_perspective == "CAMERA" and space.camera is not None
    return space.camera.matrix_world.copy() if looks else None


def _covering(space: bpy.types.SpaceView3D) -> bool:
    """Whether the view keeps no depths: EEVEE writes them for overlays alone."""
    return not space.overlay.show_overlays and space.shading.type in ("MATERIAL", "RENDERED")


def _view(scene: bpy.types.Scene, space: bpy.types.SpaceView3D, eye: _Eye, depsgraph: bpy.types.Depsgraph) -> View:
    """What a 3D view shows now. Raises SceneError."""
    if not eye.perspective:
        raise SceneError("Live avatars need a perspective view: press 5 on the number pad.")
    region = Region(eye.width, eye.height, 0, 0, eye.width, eye.height)
    jobs, unread = [], []
    for actor in actor_objects(scene):
        if not actor.visible_get(viewport=space):
            continue
        path = actor_file(actor)
        facts = session.current.known(path)
        if facts is None:
            unread.append(path)
            continue
        posed = read_controls(actor, body_mesh(actor), facts.schema, depsgraph)
        camera = view_controls(eye.pose, eye.projection, region, posed.scale)
        jobs.append(shot.Job(actor.name, path, "preview", posed.controls, camera, posed.scale, actor.avatar.ahead))
    return View(eye.width, eye.height, tuple(jobs), scene.avatar.live_seconds, tuple(unread))


def _render(view: View, share: float, quality: str, stop: Any) -> Any:
    """In the thread of a Live."""
    for path in view.unread:
        session.current.actor(path, stop)
    jobs = [job.reduced(share, quality) for job in view.jobs]
    width, height = (max(round(side * share), 1) for side in (view.width, view.height))
    return shot.render(jobs, width, height, stop)


def _draw_bodies(context: bpy.types.Context, space: _Space, view: View) -> None:
    if space.bodies is None or space.bodies[0] != view or view.unread:
        depsgraph = context.evaluated_depsgraph_get()
        shown = [actor for actor in actor_objects(context.scene) if actor.visible_get(viewport=context.space_data)]
        meshes = [mesh for mesh in map(body_mesh, shown) if mesh is not None and mesh.type == "MESH"]
        space.bodies = view, [GpuBody(mesh.evaluated_get(depsgraph)) for mesh in meshes]
    for body in space.bodies[1]:
        body.draw(context.region_data)


def _draw_text() -> None:
    context = bpy.context
    space = _views.get(context.space_data.as_pointer()) if context.scene.avatar.live else None
    if space is None:
        return
    space.said = space.sentence
    if space.said:
        scale = context.preferences.system.ui_scale
        blf.position(0, _tools_width(context) + 20 * scale, 20 * scale, 0)
        blf.size(0, 12 * scale)
        blf.color(0, 1, 0.6, 0.2, 1)
        blf.draw(0, space.said)


def _tools_width(context: bpy.types.Context) -> int:
    """Pixels of the view that its tool bar covers on the left."""
    bars = [bar for bar in context.area.regions if bar.type == "TOOLS" and bar.alignment == "LEFT"]
    return max((bar.x + bar.width - context.region.x for bar in bars), default=0)


def _tick() -> float | None:
    """Draws the views that have a new picture; ends when no thread works any more."""
    waiting = False
    _forget(keep={s.as_pointer() for screen in bpy.data.screens for area in screen.areas for s in area.spaces})
    for window in bpy.context.window_manager.windows:
        for area in window.screen.areas:
            space = _views.get(area.spaces.active.as_pointer()) if area.type == "VIEW_3D" else None
            if space is None:
                continue
            waiting |= space.live.busy
            if space.outdated:
                area.tag_redraw()
    return _TICK if waiting else None


def _forget(keep: set[int]) -> None:
    """Ends the threads of the 3D views that are gone."""
    for key in _views.keys() - keep:
        _views.pop(key).live.close(wait=False)


@persistent
def _forget_all(*_: object) -> None:
    """A loaded file has other views, at addresses that may be the same."""
    _forget(keep=set())
