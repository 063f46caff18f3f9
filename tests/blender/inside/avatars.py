"""What cases inside Blender do with avatars again and again."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import Any

import bpy
from pictures import ADDON


def load(actor: Path) -> Any:
    assert bpy.ops.avatar.load_actor(filepath=str(actor)) == {"FINISHED"}
    return activate(bpy.context.object)


def avatars() -> list[Any]:
    return sorted((found for found in bpy.data.objects if found.avatar.actor_path), key=lambda found: found.name)


def activate(rig: Any = None) -> Any:
    rig = rig or avatars()[0]
    bpy.context.view_layer.objects.active = rig
    return rig


def file_of(rig: Any) -> Path:
    return part("properties").actor_file(rig)


def controls(rig: Any = None) -> dict[str, Any]:
    """What the renderer is asked for; the worker reads the actor for it."""
    rig = rig or bpy.context.object
    bpy.context.view_layer.update()
    schema = part("session").current.actor(file_of(rig)).schema
    graph = bpy.context.evaluated_depsgraph_get()
    return part("pose").read_controls(rig, part("properties").body_mesh(rig), schema, graph).controls


def add_codes(rig: Any) -> None:
    """As an actor has them that generates people."""
    rig["shape"] = [0.0] * 4
    rig.property_overridable_library_set('["shape"]', True)
    rig.avatar.latents = "shape"


def failure(call: Any) -> str:
    """What an operator reports."""
    try:
        call()
    except RuntimeError as error:
        return str(error)
    return ""


def refused(call: Any) -> str:
    """The sentence of a SceneError."""
    try:
        call()
    except part("errors").SceneError as error:
        return str(error)
    return ""


def empty() -> None:
    """A new file; the add-on and its worker stay."""
    bpy.ops.wm.read_homefile(use_empty=True, use_factory_startup=True)


def part(name: str) -> Any:
    return import_module(f"{ADDON}.{name}")
