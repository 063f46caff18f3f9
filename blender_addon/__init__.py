# SPDX-License-Identifier: GPL-3.0-or-later
"""Neural Avatars: renders trained avatars, posed by Blender's armatures, into Blender's compositor.

Blender supplies controls and a camera; a worker process in the user's own Python renders; the render engine
AVATAR hands the planes to the compositor. Nothing here needs more than Blender's own Python and numpy.
"""

from __future__ import annotations

from . import (
    bone_map_operators,
    cli,
    compositing_operators,
    dragging,
    engine,
    failures,
    install_operators,
    library,
    linked,
    migration,
    motion_operators,
    operators,
    packing,
    panels,
    people,
    preferences,
    properties,
    relative_paths,
    renderer_panels,
    session,
    storage_operators,
    viewport,
    worker_operators,
)

_MODULES = (
    *(properties, packing, migration, relative_paths, preferences, operators, bone_map_operators, storage_operators),
    *(dragging, library, linked, motion_operators, people, compositing_operators, worker_operators, install_operators),
    *(renderer_panels, panels),
    *(engine, failures, cli, session, viewport),  # the viewport's threads end before the worker
)


def register() -> None:
    for module in _MODULES:
        module.register()


def unregister() -> None:
    for module in reversed(_MODULES):
        module.unregister()
