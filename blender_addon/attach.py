# SPDX-License-Identifier: GPL-3.0-or-later
"""A head on a body: parented to the rig's head bone, its shape keys driven by those of the body's mesh.

All of it is what an artist could do by hand, and can change by hand afterwards.
"""

from __future__ import annotations

import bpy
import numpy as np
from mathutils import Matrix, Vector

from .errors import SceneError
from .properties import body_mesh
from .rig import EXPRESSION_PREFIX

AHEAD = 0.03  # metres: a head of the same person covers the body's own
_HELD = 0.5  # weight above which a bone holds a vertex


def add_expressions(mesh: bpy.types.Object, names: list[str]) -> None:
    """Shape keys that move nothing, for expressions that a stand-in's mesh cannot show; 0 to 1."""
    if names and mesh.data.shape_keys is None:
        mesh.shape_key_add(name="Basis", from_mix=False)
    for name in names:
        if f"{EXPRESSION_PREFIX}{name}" not in mesh.data.shape_keys.key_blocks:
            mesh.shape_key_add(name=f"{EXPRESSION_PREFIX}{name}", from_mix=False).value = 0.0


def follow_key(block: bpy.types.ShapeKey, keys: bpy.types.Key) -> None:
    """Drives a shape key by the one of the same name in `keys`."""
    block.driver_remove("value")
    driver = block.driver_add("value").driver
    driver.type = "AVERAGE"  # works where scripts may not run
    target = driver.variables.new().targets[0]
    target.id_type, target.id = "KEY", keys
    target.data_path = f'key_blocks["{block.name}"].value'


def attach(head: bpy.types.Object, body: bpy.types.Object) -> int:
    """Puts `head` (an avatar's object) where the head of `body` (an armature) is; it keeps its turn, against the body
    at rest, and its size. Returns how many of its shape keys are driven now. Raises SceneError."""
    bone = _head_bone(body)
    if _above(head, body):
        raise SceneError(f"'{body.name}' hangs on '{head.name}': a head goes on a body, not the other way round.")
    mesh = body_mesh(body)
    world = body.matrix_world
    rest = Matrix.Translation(world @ _middle(body, mesh, bone)) @ head.matrix_world.to_3x3().to_4x4()
    posed = world @ bone.matrix @ bone.bone.matrix_local.inverted() @ world.inverted()
    head.parent, head.parent_type, head.parent_bone = body, "BONE", bone.name
    head.matrix_parent_inverse = Matrix.Identity(4)
    bpy.context.view_layer.update()
    head.matrix_world = posed @ rest
    head.avatar.ahead = AHEAD
    return _drive(body_mesh(head), mesh)


def _above(head: bpy.types.Object, body: bpy.types.Object) -> bool:
    """Whether `body` is `head` or hangs on it."""
    found: bpy.types.Object | None = body
    while found is not None and found != head:
        found = found.parent
    return found is not None


def _head_bone(body: bpy.types.Object) -> bpy.types.PoseBone:
    """The bone named head, whatever stands before its name (mixamorig:Head)."""
    if body.type != "ARMATURE":
        raise SceneError(f"'{body.name}' is no armature: select the head, then the armature of the body.")
    named = [bone for bone in body.pose.bones if bone.name.lower().split(":")[-1] == "head"]
    if not named:
        raise SceneError(f"Armature '{body.name}' has no bone named 'head': parent the head to a bone by hand.")
    return named[0]


def _middle(body: bpy.types.Object, mesh: bpy.types.Object | None, bone: bpy.types.PoseBone) -> Vector:
    """In the armature's space at rest: the middle of what the bone holds of the mesh, else of the bone."""
    held = np.array(_held(mesh, bone.name) if mesh is not None else [])
    if not len(held):
        return (bone.bone.head_local + bone.bone.tail_local) / 2
    return Vector((held.min(0) + held.max(0)) / 2)


def _held(mesh: bpy.types.Object, name: str) -> list[Vector]:
    """Vertices of a mesh, in its parent's space, that a bone holds more than others do."""
    group = mesh.vertex_groups.get(name)
    return [
        mesh.matrix_local @ vertex.co
        for vertex in (mesh.data.vertices if group is not None else ())
        if any(entry.group == group.index and entry.weight > _HELD for entry in vertex.groups)
    ]


def _drive(head: bpy.types.Object | None, body: bpy.types.Object | None) -> int:
    keys, source = (mesh.data.shape_keys if mesh is not None else None for mesh in (head, body))
    if keys is None or source is None:
        return 0
    shared = [block for block in keys.key_blocks if block.name.startswith(EXPRESSION_PREFIX)]
    shared = [block for block in shared if block.name in source.key_blocks]
    for block in shared:
        follow_key(block, source)
    return len(shared)
