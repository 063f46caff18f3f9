# SPDX-License-Identifier: GPL-3.0-or-later
"""Properties of earlier versions become those of this one, when a .blend is opened, appended or linked.

Whatever is saved carries the version; a step leads from one version to the next and finds nothing to do where it has
been taken already. Newer properties stay as they are: whoever reads them refuses (properties.check_version).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import bpy
from bpy.app.handlers import persistent

from .properties import VERSION

_VECTOR = "appearance"  # a custom property with numbers that is no code


def migrate(found: Iterable[bpy.types.Object | bpy.types.Scene]) -> None:
    """To this version, each from its own."""
    for one in found:
        settings = one.avatar
        if isinstance(one, bpy.types.Object) and settings.actor_path:
            for step in _STEPS[settings.version :]:
                step(one)
        settings.version = max(settings.version, VERSION)


def _list_codes(avatar: bpy.types.Object) -> None:
    """0 to 1: the first files did not say which custom properties are the codes of a person, nor let them be changed
    where the avatar is linked."""
    if not avatar.avatar.latents:
        numbers = [name for name, value in avatar.items() if getattr(value, "typecode", "") in ("f", "d")]
        avatar.avatar.latents = ",".join(name for name in numbers if name != _VECTOR)
    for name in {*avatar.avatar.latents.split(","), _VECTOR} & set(avatar.keys()):
        avatar.property_overridable_library_set(f'["{name}"]', True)


def _note_limbs(avatar: bpy.types.Object) -> None:
    """1 to 2: an avatar did not say whether its pictures have limbs; those of this one method had."""
    avatar.avatar.limbs = avatar.avatar.limbs or avatar.avatar.method == "human_view_synthesis"


_STEPS: tuple[Callable[[bpy.types.Object], None], ...] = (_list_codes, _note_limbs)  # i leads from version i to i + 1


def _known() -> list[bpy.types.Object | bpy.types.Scene]:
    """All that carries settings."""
    avatars = [found for found in bpy.data.objects if found.avatar.actor_path]
    return avatars + [scene for scene in bpy.data.scenes if scene.avatar.avatars or scene.avatar.owner]


@persistent
def _migrate_all(*_: object) -> None:
    migrate(_known())


_WHEN = ("load_post", "blend_import_post", "save_pre")  # 4.2 has no blend_import_post: there the next save does it


def register() -> None:
    for name in _WHEN:
        getattr(bpy.app.handlers, name, []).append(_migrate_all)


def unregister() -> None:
    for name in _WHEN:
        handlers = getattr(bpy.app.handlers, name, [])
        if _migrate_all in handlers:
            handlers.remove(_migrate_all)
