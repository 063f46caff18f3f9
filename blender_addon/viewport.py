# SPDX-License-Identifier: GPL-3.0-or-later
"""Live avatars in the 3D view, behind and before the scene's objects, whatever the shading.

A draw handler compares what the view shows with what was asked for last, asks anew where they differ (live.py
renders in a thread) and draws the newest picture with its depths. Until a picture of the view is there, the posed
body stands in. Nothing of the file is written while drawing.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

import blf
import bpy
import numpy as np
from bpy.app.handlers import persistent

from . import session, shot
from .coordinates import Region, rigid, view_controls
from .errors import SceneError
from .gpu_picture import GpuBody, GpuPicture
from .live import Live, Shown, View
from .pose import read_controls
from .properties import actor_file, actor_objects, body_mesh

_TICK = 0.01  # seconds between two looks for a new picture
_PATIENCE = 0.4  # seconds that the picture of an earlier pose stays
_STANDING_IN = "BOUNDS"  # how Blender draws a body while its avatar is live
_views: dict[int, _Space] = {}
_handlers: list[Any] = []


@dataclass
class _Space:
    """One 3D view."""

    live: Live
    error: str = ""  # of reading the scene
    drawn: Shown | None = None
    picture: GpuPicture | None = None  # of `drawn`
    late: bool = False  # what is drawn is of an earlier pose
    said: str = ""  # the sentence that is drawn

    @property
    def sentence(self) -> str:
        return self.error or self.live.error

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
    """Why a 3D view shows no avatars; empty where it does."""
    found = _views.get(space.as_pointer())
    return found.sentence if found is not None else ""


def register() -> None:
    if bpy.app.background:
        return
    add = bpy.types.SpaceView3D.draw_handler_add
    _handlers.append(add(_draw, (), "WINDOW", "POST_VIEW"))
    _handlers.append(add(_draw_text, (), "WINDOW", "POST_PIXEL"))
    bpy.app.handlers.load_pre.append(_forget_all)


def unregister() -> None:
    if _forget_all in bpy.app.handlers.load_pre:
        bpy.app.handlers.load_pre.remove(_forget_all)
    while _handlers:
        bpy.types.SpaceView3D.draw_handler_remove(_handlers.pop(), "WINDOW")
    if bpy.app.timers.is_registered(_tick):
        bpy.app.timers.unregister(_tick)
    for space in _views.values():
        space.live.close()
    _views.clear()


def _draw() -> None:
    context = bpy.context
    if not context.scene.avatar.live or context.region_data is None:
        return
    key = context.space_data.as_pointer()
    if key not in _views:
        _views[key] = _Space(Live(_render, lambda: session.current.contended))
    space = _views[key]
    try:
        session.current.settle()
        view, space.error = _view(context), ""
    except SceneError as error:
        space.error = str(error)
        return
    space.live.ask(view)
    if not bpy.app.timers.is_registered(_tick):
        bpy.app.timers.register(_tick, first_interval=_TICK)
    newest = space.live.shown
    if newest is not space.drawn:
        space.drawn, space.picture = newest, GpuPicture(newest.picture) if newest is not None else None
    space.late = newest is not None and newest.view != view and newest.view.same_camera(view)
    on_time = space.late and time.monotonic() - space.live.asked < _PATIENCE
    if space.picture is not None and newest is not None and (newest.view == view or on_time):
        space.picture.draw(context.region_data.window_matrix)
        return
    space.late = False
    if not space.sentence:
        _draw_bodies(context)


def _view(context: bpy.types.Context) -> View:
    """What the region shows now. Raises SceneError."""
    region3d, region = context.region_data, Region(*_size(context.region), 0, 0, *_size(context.region))
    if not region3d.is_perspective:
        raise SceneError("Live avatars need a perspective view: press 5 on the number pad.")
    depsgraph = context.evaluated_depsgraph_get()
    pose = rigid(np.linalg.inv(np.array(region3d.view_matrix, np.float64)))
    projection = np.array(region3d.window_matrix, np.float64)
    jobs, unread = [], []
    for actor in actor_objects(context.scene):
        if not actor.visible_get(viewport=context.space_data):
            continue
        path = actor_file(actor)
        facts = session.current.known(path)
        if facts is None:
            unread.append(path)
            continue
        posed = read_controls(actor, body_mesh(actor), facts.schema, depsgraph)
        camera = view_controls(pose, projection, region, posed.scale)
        jobs.append(shot.Job(actor.name, path, "preview", posed.controls, camera, posed.scale, actor.avatar.ahead))
    return View(region.width, region.height, tuple(jobs), context.scene.avatar.live_seconds, tuple(unread))


def _size(region: bpy.types.Region) -> tuple[int, int]:
    return region.width, region.height


def _render(view: View, share: float, quality: str, stop: Any) -> Any:
    """In the thread of a Live."""
    for path in view.unread:
        session.current.actor(path, stop)
    jobs = [job.reduced(share, quality) for job in view.jobs]
    width, height = (max(round(side * share), 1) for side in (view.width, view.height))
    return shot.render(jobs, width, height, stop)


def _draw_bodies(context: bpy.types.Context) -> None:
    depsgraph = context.evaluated_depsgraph_get()
    for actor in actor_objects(context.scene):
        mesh = body_mesh(actor)
        if mesh is not None and mesh.type == "MESH" and actor.visible_get(viewport=context.space_data):
            GpuBody(mesh.evaluated_get(depsgraph)).draw(context.region_data)


def _draw_text() -> None:
    context = bpy.context
    space = _views.get(context.space_data.as_pointer()) if context.scene.avatar.live else None
    if space is None:
        return
    space.said = space.sentence
    if space.said:
        scale = context.preferences.system.ui_scale
        blf.position(0, 20 * scale, 20 * scale, 0)
        blf.size(0, 12 * scale)
        blf.color(0, 1, 0.6, 0.2, 1)
        blf.draw(0, space.said)


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
