# SPDX-License-Identifier: GPL-3.0-or-later
"""Keeps // right in the paths of actors when an avatar comes from another .blend, or the .blend goes to another folder.

Blender does so for its own paths, and not for those that extensions store.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import bpy
from bpy.app.handlers import persistent


def stored(path: Path) -> str:
    """As the artist's preference wants it: relative to a saved .blend, else absolute."""
    if not bpy.data.filepath or not bpy.context.preferences.filepaths.use_relative_paths:
        return str(path)
    return _relative(str(path), os.path.dirname(bpy.data.filepath))


def _relative(path: str, folder: str) -> str:
    try:
        return bpy.path.relpath(path, start=folder)
    except ValueError:  # on another drive
        return path


def _move(avatars: list[bpy.types.Object], old: str, new: str) -> None:
    """From paths that start at the folder `old` to such that start at `new`."""
    for avatar in avatars if os.path.normpath(old) != os.path.normpath(new) else ():
        path = avatar.avatar.actor_path
        if path.startswith("//"):
            absolute = os.path.normpath(bpy.path.abspath(path, start=old))
            avatar.avatar.actor_path = _relative(absolute, new) if new else absolute


def _own() -> list[bpy.types.Object]:
    return [found for found in bpy.data.objects if found.library is None and found.override_library is None]


@persistent
def _appended(context: Any) -> None:
    """An appended avatar's path starts at the folder of the .blend that it comes from."""
    for item in context.import_items:
        found, source = item.id, item.source_library
        if isinstance(found, bpy.types.Object) and found.library is None and source is not None:
            _move([found], os.path.dirname(bpy.path.abspath(source.filepath)), os.path.dirname(bpy.data.filepath))


@persistent
def _saving(target: str, *_: object) -> None:
    if bpy.data.filepath and target:
        _move(_own(), os.path.dirname(bpy.data.filepath), os.path.dirname(target))


@persistent
def _saved(target: str, *_: object) -> None:
    """After a copy was saved elsewhere, the open .blend is still where it was."""
    if bpy.data.filepath and target:
        _move(_own(), os.path.dirname(target), os.path.dirname(bpy.data.filepath))


_HANDLERS = {"blend_import_post": _appended, "save_pre": _saving, "save_post": _saved, "save_post_fail": _saved}


def register() -> None:
    for name, handler in _HANDLERS.items():
        getattr(bpy.app.handlers, name, []).append(handler)


def unregister() -> None:
    for name, handler in _HANDLERS.items():
        handlers = getattr(bpy.app.handlers, name, [])
        if handler in handlers:
            handlers.remove(handler)
