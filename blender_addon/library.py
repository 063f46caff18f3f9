# SPDX-License-Identifier: GPL-3.0-or-later
"""The actors of some folders with their pictures, which are dragged into the 3D view; a click on the name loads one.

Folders are read in a thread, at the first look and on request, so that the interface never waits for a disk.
"""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import bpy
import bpy.utils.previews
import numpy as np

from . import dragging, redraw, session, thumbnails
from .attempt import Attempt
from .errors import SceneError

_TICK = 0.1  # seconds between two looks at the thread
_WIDTH = 110  # pixels of a picture and what is around it
_PICTURE = 4.5  # of a picture's side, in rows of text
_NO_WIDTH = 0.01  # rows of text: less than a pixel, what is in it lies under what comes next
_DRAG = "Drag the picture into the 3D view: the actor stands where you drop it. Or click, and click again there"


class _Shelf:
    """What the panel shows."""

    def __init__(self) -> None:
        self.found: list[thumbnails.Thumbnail] | None = None  # None: not looked yet
        self.icons: Any = None  # bpy.utils.previews
        self.folders: list[Path] = []  # that were looked at
        self.choices: list[tuple[str, str, str, int]] = []  # of an actor, kept as Blender wants it
        self._thread: threading.Thread | None = None
        self._next: list[thumbnails.Thumbnail] = []

    def look(self) -> None:
        """Reads the folders anew, in a thread; a look that is under way goes on."""
        if self._thread is not None:
            return
        paths = self.folders = folders()

        def work() -> None:
            self._next = thumbnails.find(paths)

        self._thread = threading.Thread(target=work, name="actors in folders", daemon=True)
        self._thread.start()
        bpy.app.timers.register(self._take, first_interval=_TICK)

    def close(self) -> None:
        if bpy.app.timers.is_registered(self._take):
            bpy.app.timers.unregister(self._take)
        if self.icons is not None:
            bpy.utils.previews.remove(self.icons)
        self.found = self.icons = self._thread = None

    def _take(self) -> float | None:
        if self._thread is None:
            return None
        if self._thread.is_alive():
            return _TICK
        self._thread, self.found = None, self._next
        if self.icons is None:
            self.icons = bpy.utils.previews.new()
        self.icons.clear()
        for actor in self.found:
            if actor.picture is not None:
                _show(self.icons.new(str(actor.path)), actor.picture)
        redraw.views()
        return None


def folders() -> list[Path]:
    """The user's own, those of the preferences, and the one that comes with avatar-core."""
    own, addon = own_folder(), bpy.context.preferences.addons.get(__package__)
    paths = [str(own)] if own is not None else []
    if addon is not None:
        paths += [entry.path for entry in addon.preferences.actor_folders if entry.path]
    paths += [session.current.shipped_actors] if session.current.shipped_actors else []
    return [Path(bpy.path.abspath(path)).absolute() for path in paths]


def own_folder() -> Path | None:
    """The user's, made where it is missing; None where the extension is not installed."""
    try:
        return Path(bpy.utils.extension_path_user(__package__, path="actors", create=True))
    except ValueError:
        return None


shelf = _Shelf()


def draw(layout: Any, width: float) -> None:
    """Pictures with a button each, as many beside each other as `width` pixels hold."""
    if shelf.found is None or shelf.folders != folders():
        shelf.look()
    if shelf.found is None:
        layout.label(text="Looking for actors …", icon="SORTTIME")
        return
    if not shelf.found:
        column = layout.column(align=True)
        column.label(text="No actors yet: drop .actor files", icon="INFO")
        column.label(text="into the 3D view, put them into", icon="BLANK1")
        column.label(text="the actor folder, or add a folder", icon="BLANK1")
    grid = layout.grid_flow(row_major=True, columns=max(int(width / _WIDTH), 1), even_columns=True, align=False)
    for index, actor in enumerate(shelf.found):
        cell = grid.box().column(align=True)
        icon = shelf.icons.get(str(actor.path))
        _draw_picture(cell, icon.icon_id if icon is not None else _NOBODY, index)
        button = cell.operator("avatar.load_actor", text=actor.path.stem)
        button.filepath = str(actor.path)
    row = layout.row(align=True)
    row.operator("avatar.refresh_library", icon="FILE_REFRESH", text="Refresh")
    own = own_folder()
    if own is not None:
        row.operator("wm.path_open", icon="FILE_FOLDER", text="Actor Folder").filepath = str(own)
    row.operator("avatar.add_folder", icon="ADD", text="")


class AVATAR_OT_refresh_library(bpy.types.Operator):
    """Look for actors in the folders of the library again"""

    bl_idname = "avatar.refresh_library"
    bl_label = "Refresh Library"
    bl_options = frozenset({"INTERNAL"})

    def execute(self, context: bpy.types.Context) -> set[str]:
        shelf.look()
        return {"FINISHED"}


class AVATAR_OT_add_folder(Attempt, bpy.types.Operator):
    """Show the actors of another folder in the library; it is remembered in the preferences"""

    bl_idname = "avatar.add_folder"
    bl_label = "Add Folder of Actors"
    bl_options = frozenset({"INTERNAL"})

    directory: bpy.props.StringProperty(subtype="DIR_PATH", options={"SKIP_SAVE"})

    def invoke(self, context: bpy.types.Context, event: bpy.types.Event) -> set[str]:
        context.window_manager.fileselect_add(self)
        return {"RUNNING_MODAL"}

    def work(self, context: bpy.types.Context) -> str:
        folder = Path(bpy.path.abspath(self.directory)).absolute()
        if not self.directory or not folder.is_dir():
            raise SceneError(f"{folder} is no folder: choose one that holds .actor files.")
        preferences = context.preferences.addons[__package__].preferences
        if folder in folders():
            return f"{folder} is in the library already."
        preferences.actor_folders.add().path = str(folder)
        context.preferences.is_dirty = True
        shelf.look()
        return f"The library shows the actors of {folder}."


class AVATAR_OT_remove_folder(bpy.types.Operator):
    """Show the actors of this folder no longer; the files stay"""

    bl_idname = "avatar.remove_folder"
    bl_label = "Remove Folder"
    bl_options = frozenset({"INTERNAL"})

    index: bpy.props.IntProperty(min=0, options={"HIDDEN"})

    def execute(self, context: bpy.types.Context) -> set[str]:
        context.preferences.addons[__package__].preferences.actor_folders.remove(self.index)
        context.preferences.is_dirty = True
        shelf.look()
        return {"FINISHED"}


class AVATAR_FH_actor(bpy.types.FileHandler):
    """An .actor file dropped into the 3D view loads where it is dropped."""

    bl_idname = "AVATAR_FH_actor"
    bl_label = "Actor"
    bl_import_operator = "avatar.load_actor"
    bl_file_extensions = ".actor"

    @classmethod
    def poll_drop(cls, context: bpy.types.Context) -> bool:
        return context.area is not None and context.area.type == "VIEW_3D"


_CLASSES = (AVATAR_OT_refresh_library, AVATAR_OT_add_folder, AVATAR_OT_remove_folder, AVATAR_FH_actor)
_register, _unregister = bpy.utils.register_classes_factory(_CLASSES)
_NOBODY = bpy.types.UILayout.bl_rna.functions["prop"].parameters["icon"].enum_items["OUTLINER_OB_ARMATURE"].value


def register() -> None:
    _register()
    bpy.types.WindowManager.avatar_picked = bpy.props.EnumProperty(
        name="Actor", items=_choices, get=lambda _: -1, set=_pick_up, options={"SKIP_SAVE"}
    )


def unregister() -> None:
    del bpy.types.WindowManager.avatar_picked
    shelf.close()
    _unregister()


def _draw_picture(cell: Any, icon: int, index: int) -> None:
    """With an unseen choice of the actor over it: choices are made when the mouse is pressed, so that a drag can begin;
    pictures and operators do not answer to that."""
    row = cell.row(align=True)
    row.alignment = "CENTER"
    below = row.row(align=True)
    below.ui_units_x = _NO_WIDTH
    below.template_icon(icon, scale=_PICTURE)
    over = row.column(align=True)
    over.ui_units_x, over.scale_y, over.emboss = _PICTURE, _PICTURE, "NONE"
    if dragging.under_way():  # or the button that was pressed would go on waiting for its release
        over.label()
    else:
        over.prop_enum(bpy.context.window_manager, "avatar_picked", str(index), text=" ", icon="NONE")


def _choices(_: Any, context: bpy.types.Context | None) -> list[tuple[str, str, str, int]]:
    """One for each actor that is shown."""
    shelf.choices = [(str(index), actor.path.stem, _DRAG, index) for index, actor in enumerate(shelf.found or ())]
    return shelf.choices


def _pick_up(_: Any, index: int) -> None:
    if shelf.found is not None and index < len(shelf.found):
        dragging.pick_up(shelf.found[index].path)


def _show(icon: Any, picture: np.ndarray) -> None:
    """Blender's pictures start at the bottom; 4 bytes are one number."""
    flipped = np.ascontiguousarray(picture[::-1])
    icon.image_size = (flipped.shape[1], flipped.shape[0])
    icon.image_pixels.foreach_set(flipped.view(np.int32).ravel())
