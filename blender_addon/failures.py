# SPDX-License-Identifier: GPL-3.0-or-later
"""A frame without its avatars must not pass for a finished one.

Blender drops the errors of a scene that is rendered for another scene's compositor (measured in 4.3, 4.5,
5.0, 5.2): the animation would go on, save pictures without avatars, and end with exit code 0. So in the
background the render is stopped as Ctrl-C stops it: the frame is not saved and the exit code is 1. A second
Ctrl-C would kill Blender, so later failures, those in Blender's window and in the module bpy delete the
failed picture; the window shows an error.
"""

from __future__ import annotations

import atexit
import os
import signal
from pathlib import Path

import bpy
from bpy.app.handlers import persistent

_current = ""  # why the frame that is being rendered has failed
_all: list[str] = []  # why frames of this render have failed, first to last
_stopped = False  # Blender was sent its one Ctrl-C


def failed(sentence: str) -> None:
    """Told by the engine, from the thread that renders."""
    global _current, _stopped
    _current = sentence
    _all.append(sentence)
    if not bpy.app.background:
        bpy.app.timers.register(_show)
    elif signal.getsignal(signal.SIGINT) is not None:
        pass  # Python's own handler: the module bpy, whose script asks found()
    elif not _stopped:
        _stopped = True
        signal.raise_signal(signal.SIGINT)
    else:
        atexit.register(os._exit, 1)  # Blender forgot the first stop when it began the next render


def found() -> list[str]:
    """Why frames of the last render or animation have failed, first to last. Scripts ask this: the result of
    bpy.ops.render.render does not tell."""
    return list(_all)


def register() -> None:
    bpy.app.handlers.render_init.append(_begin)
    bpy.app.handlers.render_pre.append(_begin_frame)
    bpy.app.handlers.render_write.append(_discard)


def unregister() -> None:
    bpy.app.handlers.render_pre.remove(_begin_frame)
    bpy.app.handlers.render_init.remove(_begin)
    bpy.app.handlers.render_write.remove(_discard)


@persistent
def _begin(*_: object) -> None:
    _all.clear()


@persistent
def _begin_frame(*_: object) -> None:
    global _current
    _current = ""


@persistent
def _discard(scene: bpy.types.Scene, *_: object) -> None:
    if not _current or scene.render.is_movie_format:
        return
    path = Path(bpy.path.abspath(scene.render.frame_path(frame=scene.frame_current)))
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        print(f"The picture {path} lacks its avatars and cannot be deleted: {error.strerror}", flush=True)


def _show() -> None:
    """A message at the mouse; runs on the main thread."""
    window = bpy.context.window_manager.windows[0]
    sentence = _current

    def draw(menu: bpy.types.Menu, _: bpy.types.Context) -> None:
        menu.layout.label(text=sentence)

    if sentence:
        with bpy.context.temp_override(window=window):
            bpy.context.window_manager.popup_menu(draw, title="Avatars were not rendered", icon="ERROR")
