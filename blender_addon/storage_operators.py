# SPDX-License-Identifier: GPL-3.0-or-later
"""Where an avatar's actor is kept: packed into the .blend, beside it, or found again after it moved."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import bpy

from . import packing, session
from .attempt import Attempt, FileAttempt, OnAvatar
from .errors import SceneError
from .pose import read_controls
from .properties import actor_file, avatar_of, body_mesh, note_facts
from .relative_paths import stored


class AVATAR_OT_pack_actor(OnAvatar, Attempt, bpy.types.Operator):
    """Keep the actor's file inside of this .blend, so that the .blend alone can be given away"""

    bl_idname = "avatar.pack_actor"
    bl_label = "Pack Actor into .blend"
    bl_options = frozenset({"REGISTER", "UNDO"})

    def work(self, context: bpy.types.Context) -> str:
        avatar: Any = avatar_of(context.object)  # poll saw to it
        path = actor_file(avatar)
        avatar.avatar.packed = packing.packed(path)
        return f"{avatar.avatar.actor_name} is saved inside of this .blend ({path.stat().st_size / 1e6:.1f} MB)."


class AVATAR_OT_unpack_actor(OnAvatar, Attempt, bpy.types.Operator):
    """Keep the actor as a file again: the one that it was packed from, or a new one beside this .blend"""

    bl_idname = "avatar.unpack_actor"
    bl_label = "Unpack Actor"
    bl_options = frozenset({"REGISTER", "UNDO"})

    otherwise = "Select an avatar whose actor is packed into this .blend first"

    @staticmethod
    def fits(avatar: bpy.types.Object) -> bool:
        return avatar.avatar.packed is not None

    def work(self, context: bpy.types.Context) -> str:
        avatar: Any = avatar_of(context.object)  # poll saw to it
        settings, image = avatar.avatar, avatar.avatar.packed
        source, settings.packed = actor_file(avatar), None
        try:
            target = actor_file(avatar)
            if not packing.same(source, target):
                target = _beside_blend(settings.actor_name)
                if not packing.same(source, target):
                    _write_once(target, source)
        except SceneError:
            settings.packed = image
            raise
        settings.actor_path = stored(target)
        packing.drop(image)
        return f"{settings.actor_name} is the file {target}."


class AVATAR_OT_find_actor(OnAvatar, FileAttempt, bpy.types.Operator):
    """Choose the file of this avatar's actor anew; other avatars that miss the same file follow"""

    bl_idname = "avatar.find_actor"
    bl_label = "Find Actor File"
    bl_options = frozenset({"REGISTER", "UNDO"})

    filter_glob: bpy.props.StringProperty(default="*.actor", options={"HIDDEN"})

    def work(self, context: bpy.types.Context) -> str:
        avatar: Any = avatar_of(context.object)  # poll saw to it
        path, lost = self.actor, avatar.avatar.actor_path
        facts = session.current.actor(path, chosen=True)
        graph = context.evaluated_depsgraph_get()
        read_controls(avatar, body_mesh(avatar), facts.schema, graph)  # refuses another skeleton
        found = [other for other in bpy.data.objects if other.avatar.actor_path == lost and other.library is None]
        for other in found:
            other.avatar.actor_path, other.avatar.packed = stored(path), None
            note_facts(other, facts)
        return f"{len(found)} {'avatar uses' if len(found) == 1 else 'avatars use'} {path.name} now."


_OPERATORS = (AVATAR_OT_pack_actor, AVATAR_OT_unpack_actor, AVATAR_OT_find_actor)
register, unregister = bpy.utils.register_classes_factory(_OPERATORS)


def _beside_blend(name: str) -> Path:
    if not bpy.data.filepath:
        raise SceneError("This .blend was never saved: save it first, the actor's file goes beside it.")
    return Path(bpy.data.filepath).with_name(f"{bpy.path.clean_name(name) or 'actor'}.actor")


def _write_once(target: Path, source: Path) -> None:
    if target.exists():
        raise SceneError(f"{target} is another actor already: rename it, or the avatar, and unpack again.")
    packing.write_new(target, source.read_bytes())
