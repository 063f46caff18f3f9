# SPDX-License-Identifier: GPL-3.0-or-later
"""How operators do their work: known failures become sentences for the artist, files are chosen first."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import bpy

from .client import WorkerError
from .errors import SceneError
from .properties import avatar_of, body_mesh, check_version, owner_scene


class OnAvatar:
    """An operator's part that wants an avatar that fits, or something that belongs to it, to be active; one of another
    .blend is only read."""

    otherwise = "Select an avatar first"

    @staticmethod
    def fits(avatar: bpy.types.Object) -> bool:
        return True

    @classmethod
    def poll(cls: Any, context: bpy.types.Context) -> bool:
        avatar = avatar_of(context.object)
        if avatar is None or not cls.fits(avatar):
            cls.poll_message_set(cls.otherwise)
            return False
        if avatar.library is not None and "UNDO" in cls.bl_options:
            cls.poll_message_set("This avatar is linked from another .blend: press Pose Linked Avatar Here first")
            return False
        return True


class OnBody(OnAvatar):
    """The same with an avatar that has a body."""

    otherwise = "Select an avatar with a body first"

    @staticmethod
    def fits(avatar: bpy.types.Object) -> bool:
        return body_mesh(avatar) is not None


class Attempt:
    """An operator's part that does `work`, which returns a sentence; its known failures become the operator's error.

    What a newer version of the extension has saved is not changed.
    """

    def execute(self: Any, context: bpy.types.Context) -> set[str]:
        window = context.window
        if window is not None:
            window.cursor_modal_set("WAIT")
        try:
            if "UNDO" in self.bl_options:
                _refuse_newer(context)
            self.report({"INFO"}, self.work(context))
        except (SceneError, WorkerError) as error:
            sentence = str(error)
            self.report({"ERROR"}, sentence if sentence.endswith(".") else f"{sentence}.")
            return {"CANCELLED"}
        finally:
            if window is not None:
                window.cursor_modal_restore()
        return {"FINISHED"}

    def work(self, context: bpy.types.Context) -> str:
        """Raises SceneError and WorkerError."""
        raise NotImplementedError


class FileAttempt(Attempt):
    """The same with a file, which the artist chooses first, unless the caller has chosen it: a button, a drop."""

    filepath: bpy.props.StringProperty(subtype="FILE_PATH", options={"SKIP_SAVE"})

    def invoke(self, context: bpy.types.Context, event: bpy.types.Event) -> set[str]:
        if self.filepath:
            return self.execute(context)
        context.window_manager.fileselect_add(self)
        return {"RUNNING_MODAL"}

    @property
    def file(self) -> Path:
        """Absolute."""
        return Path(bpy.path.abspath(self.filepath)).absolute()

    @property
    def actor(self) -> Path:
        """The file, an actor. Raises SceneError for another kind."""
        path = self.file
        if path.suffix != ".actor" or path.is_dir():
            raise SceneError(f"{path.name or 'The chosen folder'} is not an actor: choose a file that ends in .actor.")
        return path


def _refuse_newer(context: bpy.types.Context) -> None:
    """Raises SceneError."""
    for found in (avatar_of(context.object), owner_scene(context.scene)):
        if found is not None:
            check_version(found)
