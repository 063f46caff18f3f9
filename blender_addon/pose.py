# SPDX-License-Identifier: GPL-3.0-or-later
"""Armature and shape keys to an actor's controls, from evaluated data: constraints, drivers, NLA included."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import bpy
import numpy as np

from . import retarget
from .coordinates import rigid, world_from_blender
from .drive import joint_points, read_map
from .errors import SceneError

_BETA, _EXPRESSION = "beta_", "expr_"  # shape keys, as blend_templates/rig.py names them
_HEAD, _HEAD_SHAPE = "avatar_head", "avatar_head_shapedirs"  # of a bone: its joint, and how betas move it
_MISSING_SHOWN = 4


@dataclass(frozen=True)
class Posed:
    """Controls for `avatar_core.controls.Controls.from_dict`, in a world `scale` times smaller."""

    controls: dict[str, Any]
    scale: float


def read_controls(
    actor: bpy.types.Object,
    mesh: bpy.types.Object | None,
    schema: dict[str, Any],
    depsgraph: bpy.types.Depsgraph,
) -> Posed:
    """The controls of `actor` (the original object) at the depsgraph's frame.

    actor: the armature; for an actor without joints any object, its head. mesh: carries the shape keys.
    Raises SceneError where bones or custom properties do not fit the schema.
    """
    evaluated = actor.evaluated_get(depsgraph)
    mapped = actor.avatar.joint_map if hasattr(actor, "avatar") else ""
    if mapped:
        return _by_points(evaluated, mapped, schema) if schema.get("points") else _by_bones(evaluated, mapped, schema)
    world, scale = world_from_blender(np.array(evaluated.matrix_world, np.float64), actor.name)
    betas, expression = _shape(mesh, schema, depsgraph)
    controls: dict[str, Any] = {}
    if schema["joints"]:
        rotations, transl = joint_rotations(evaluated, schema["joints"], world, betas)
        controls |= {"pose": axis_angles(rotations).tolist(), "transl": transl.tolist()}
    if schema["head"]:
        controls["head"] = (world @ _head(evaluated)).tolist()
    if schema["betas"]:
        controls["betas"] = betas.tolist()
    if schema["expressions"]:
        controls["expression"] = expression.tolist()
    if schema["latents"]:
        controls["latents"] = {name: _vector(evaluated, name, size) for name, size in schema["latents"].items()}
    if schema["appearance"]:
        controls["appearance"] = _vector(evaluated, "appearance", schema["appearance"])
    return Posed(controls, scale)


def _by_bones(evaluated: bpy.types.Object, mapped: str, schema: dict[str, Any]) -> Posed:
    """Of a character whose bones pose another body's joints; what it has no shape keys for stays at rest."""
    found = retarget.Retarget.from_json(mapped, evaluated, schema["joints"])
    rotations, transl, scale = retarget.joint_rotations(evaluated, found)
    controls: dict[str, Any] = {"pose": axis_angles(rotations).tolist(), "transl": transl.tolist()}
    if schema["latents"]:
        controls["latents"] = {name: _vector(evaluated, name, size) for name, size in schema["latents"].items()}
    if schema["appearance"]:
        controls["appearance"] = _vector(evaluated, "appearance", schema["appearance"])
    return Posed(controls, scale)


def _by_points(evaluated: bpy.types.Object, mapped: str, schema: dict[str, Any]) -> Posed:
    """Places of joints are in the scene's metres, whatever the armature's scale."""
    if evaluated.type != "ARMATURE":
        raise SceneError(f"'{evaluated.name}' is no armature, but its actor is driven by one: choose the actor again.")
    controls: dict[str, Any] = {"points": joint_points(evaluated, read_map(mapped, evaluated), schema["points"])}
    if schema["appearance"]:
        controls["appearance"] = _vector(evaluated, "appearance", schema["appearance"])
    return Posed(controls, 1.0)


def joint_rotations(
    armature: bpy.types.Object, joints: Sequence[str], world: np.ndarray, betas: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Each joint's rotation relative to its parent joint [J, 3, 3], and SMPL's translation [3] metres.

    armature: evaluated. world: [4, 4] rigid, armature to avatar_core's world. In armature space a joint turns
    by G = posed rest^-1, relative to its parent by G_parent^-1 G: roll and bones in between drop out.
    """
    bones = _bones(armature, joints)
    posed = rigid(np.array([bone.matrix for bone in bones], np.float64))  # [J, 4, 4]
    rest = rigid(np.array([bone.bone.matrix_local for bone in bones], np.float64))
    turned = posed[:, :3, :3] @ rest[:, :3, :3].transpose(0, 2, 1)
    index = {name: i for i, name in enumerate(joints)}
    rotations = np.empty((len(joints), 3, 3))
    for i, bone in enumerate(bones):
        parent = next((index[b.name] for b in bone.parent_recursive if b.name in index), None)
        rotations[i] = turned[i] if parent is None else turned[parent].T @ turned[i]
    # The rig turns about its bone's rest head, SMPL about the joint of the shaped body: equal once bones fit.
    root = world[:3, :3] @ turned[0]
    pelvis = shaped_head(bones[0].bone, betas)
    transl = world[:3, :3] @ posed[0, :3, 3] + world[:3, 3] - root @ rest[0, :3, 3] + root @ pelvis - pelvis
    rotations[0] = root
    return rotations, transl


def axis_angles(rotations: np.ndarray) -> np.ndarray:
    """[N, 3, 3] to [N, 3] radians, angle 0 to pi; by the quaternion from its largest part, exact near pi."""
    r = rotations
    trace = np.trace(r, axis1=1, axis2=2)
    squares = np.stack([1 + trace, *(1 + 2 * r[:, i, i] - trace for i in range(3))], 1)  # 4 w^2, 4 x^2, 4 y^2, 4 z^2
    products = np.empty((len(r), 4, 4))  # 4 times the outer product of the quaternion with itself
    products[:, range(4), range(4)] = squares
    for i, (j, k) in enumerate(((1, 2), (2, 0), (0, 1))):
        products[:, 0, 1 + i] = products[:, 1 + i, 0] = r[:, k, j] - r[:, j, k]
        products[:, 1 + j, 1 + k] = products[:, 1 + k, 1 + j] = r[:, j, k] + r[:, k, j]
    best = squares.argmax(1)
    quaternion = products[np.arange(len(r)), best]
    quaternion = quaternion / np.linalg.norm(quaternion, axis=1, keepdims=True)
    quaternion = np.where(quaternion[:, :1] < 0, -quaternion, quaternion)
    sine = np.linalg.norm(quaternion[:, 1:], axis=1, keepdims=True)
    angle = 2 * np.arctan2(sine, quaternion[:, :1])
    return np.where(sine > 1e-12, angle / np.maximum(sine, 1e-12), 2.0) * quaternion[:, 1:]


def current_betas(mesh: bpy.types.Object | None, count: int) -> np.ndarray:
    """[count] of the shape keys as they stand now, not evaluated."""
    keys = mesh.data.shape_keys if mesh is not None and mesh.type == "MESH" else None
    return _key_values(keys, [f"{_BETA}{i:02d}" for i in range(count)])


def _bones(armature: bpy.types.Object, joints: Sequence[str]) -> list[bpy.types.PoseBone]:
    if armature.type != "ARMATURE":
        raise SceneError(f"'{armature.name}' is no armature, but its actor is posed by one: load the actor again.")
    missing = [name for name in joints if name not in armature.pose.bones]
    if missing:
        shown = ", ".join(missing[:_MISSING_SHOWN]) + (", …" if len(missing) > _MISSING_SHOWN else "")
        raise SceneError(f"Armature '{armature.name}' lacks bones of its actor ({shown}): load the actor again.")
    return [armature.pose.bones[name] for name in joints]


def rest_pelvis(actor: bpy.types.Object, schema: dict[str, Any], betas: np.ndarray) -> np.ndarray:
    """[3] metres: where the first joint of the actor's body is, about which SMPL turns. Raises SceneError."""
    if actor.avatar.joint_map:
        return np.array(retarget.Retarget.from_json(actor.avatar.joint_map, actor, schema["joints"]).pelvis)
    return shaped_head(_bones(actor, schema["joints"][:1])[0].bone, betas)


def shaped_head(bone: bpy.types.Bone, betas: np.ndarray) -> np.ndarray:
    """[3] metres, in the armature: the joint of the body with these betas."""
    if _HEAD not in bone or _HEAD_SHAPE not in bone:
        return np.array(bone.head_local, np.float64)
    moves = np.array(bone[_HEAD_SHAPE], np.float64).reshape(3, -1)
    return np.array(bone[_HEAD], np.float64) + moves[:, : len(betas)] @ betas[: moves.shape[1]]


def _head(evaluated: bpy.types.Object) -> np.ndarray:
    """[4, 4] rest to posed of the root bone of a head's rig; identity for an object without bones."""
    if evaluated.type != "ARMATURE" or not evaluated.pose.bones:
        return np.eye(4)
    bone = next(bone for bone in evaluated.pose.bones if bone.parent is None)
    return rigid(np.array(bone.matrix, np.float64) @ np.linalg.inv(np.array(bone.bone.matrix_local, np.float64)))


def _shape(
    mesh: bpy.types.Object | None, schema: dict[str, Any], depsgraph: bpy.types.Depsgraph
) -> tuple[np.ndarray, np.ndarray]:
    """betas [B] and expression [E]; 0 for shape keys that the mesh does not have."""
    keys = mesh.data.shape_keys if mesh is not None and mesh.type == "MESH" else None
    keys = keys.evaluated_get(depsgraph) if keys is not None else None
    betas = _key_values(keys, [f"{_BETA}{i:02d}" for i in range(schema["betas"])])
    means = schema.get("shape_keys", {})  # of expressions that several shape keys drive
    groups = [means.get(name, [name]) for name in schema["expressions"]]
    values = [_key_values(keys, [f"{_EXPRESSION}{name}" for name in group]) for group in groups]
    return betas, np.array([value.mean() if value.size else 0.0 for value in values])


def _key_values(keys: bpy.types.Key | None, names: Sequence[str]) -> np.ndarray:
    blocks = keys.key_blocks if keys is not None else {}
    found = [blocks.get(name) for name in names]
    return np.array([block.value if block is not None and not block.mute else 0.0 for block in found], np.float64)


def _vector(evaluated: bpy.types.Object, name: str, size: int) -> list[float]:
    """A custom property with `size` numbers; zeros where the object has none."""
    value = evaluated.get(name)
    if value is None:
        return [0.0] * size
    numbers = [float(x) for x in value] if hasattr(value, "__len__") else [float(value)]
    if len(numbers) != size:
        raise SceneError(
            f"Property '{name}' of '{evaluated.name}' has {len(numbers)} numbers, its actor takes {size}:"
            " load the actor again."
        )
    return numbers
