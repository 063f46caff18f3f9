"""Builds a body in Blender: armature, skinned mesh, shape keys. Needs numpy and bpy only.

Every bone points along +y of the body with roll 0, so its rest axes are the body's axes: a pose bone's
quaternion is SMPL's axis-angle, and the root bone's location is SMPL's translation. A rig that does not rest in
the body's rest pose has bones that are turned with their joints. The armature object stands the y-up body up in
Blender's z-up world by a turn of +90 degrees about x. Linear blend skinning, as in the rest of the project; pose
offsets (posedirs) have no counterpart in Blender and are left to the actor.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import bmesh
import bpy
import numpy as np
from mathutils import Vector

BETA_PREFIX = "beta_"
EXPRESSION_PREFIX = "expr_"
_BONE_LENGTH = 0.06  # metres; only for looks
_LEAST_WEIGHT = 1e-6  # smaller ones move nothing that is seen
_HEAD_KEY = "avatar_head"  # of a bone: its joint at rest, [3] metres
_HEAD_SHAPE_KEY = "avatar_head_shapedirs"  # of a bone: [3, B] flattened, metres a beta


@dataclass(frozen=True)
class RigArrays:
    """What a rig is built from, body frame (y up), metres. B betas and E expressions may be none."""

    vertices: np.ndarray  # [V, 3]
    faces: np.ndarray  # [F, 3]
    uv: np.ndarray  # [T, 2], v up; T = 0 for a body without texture coordinates
    face_uv: np.ndarray  # [F, 3] indices into uv
    weights: np.ndarray  # [V, J], rows sum to 1
    joints: np.ndarray  # [J, 3] rest centres
    joint_names: tuple[str, ...]  # [J]
    parents: np.ndarray  # [J], root -1, each before its children
    shapedirs: np.ndarray  # [V, 3, B]
    expressions: np.ndarray  # [V, 3, E]
    expression_names: tuple[str, ...]  # [E]
    joint_shapedirs: np.ndarray = field(default_factory=lambda: np.zeros((0, 3, 0)))  # [J, 3, B] metres a beta
    rest: np.ndarray = field(default_factory=lambda: np.zeros((0, 3, 3)))  # [J, 3, 3] turns at rest; none: no turns

    def __post_init__(self) -> None:
        v, j = len(self.vertices), len(self.joint_names)
        expected = {
            "vertices": (v, 3),
            "faces": (len(self.faces), 3),
            "weights": (v, j),
            "joints": (j, 3),
            "parents": (j,),
            "shapedirs": (v, 3, self.shapedirs.shape[-1]),
            "expressions": (v, 3, len(self.expression_names)),
        }
        for name, shape in expected.items():
            got = getattr(self, name).shape
            if got != shape:
                raise ValueError(f"rig array '{name}' must have shape {shape}, got {got}")

    @classmethod
    def from_body(cls, body: Any) -> RigArrays:
        """The arrays of an `avatar_core.body.Body`."""
        return cls(
            vertices=body.vertices,
            faces=body.faces,
            uv=body.uv,
            face_uv=body.face_uv,
            weights=body.weights,
            joints=body.joints(),
            joint_names=body.joint_names,
            parents=body.parents,
            shapedirs=body.shapedirs,
            expressions=body.expressions,
            expression_names=body.expression_names,
            joint_shapedirs=body.joint_shapedirs(),
        )


def build_rig(
    name: str, arrays: RigArrays, collection: bpy.types.Collection | None = None
) -> tuple[bpy.types.Object, bpy.types.Object]:
    """The armature object and the mesh object under it, linked to `collection` (None: the scene's).

    Bones carry the names of the joints. Shape keys are `beta_00`, ... (-5 to 5) and `expr_NAME` (0 to 1).
    Leaves Blender in object mode with the armature active.
    """
    target = collection or bpy.context.scene.collection
    armature = _armature(name, arrays, target)
    mesh = _mesh(name, arrays)
    body = bpy.data.objects.new(name, mesh)
    target.objects.link(body)
    _vertex_groups(body, arrays)
    _shape_keys(body, arrays)
    modifier = body.modifiers.new(armature.name, "ARMATURE")
    modifier.object = armature
    body.parent = armature
    return armature, body


def fit_bones(armature: bpy.types.Object, betas: np.ndarray) -> None:
    """Moves the bones of a rig to where the joints of a body with these betas are; betas left out are 0.

    Needed because Blender's bones do not follow shape keys. Leaves Blender in object mode. Raises ValueError
    for a rig that was built without `joint_shapedirs`.
    """
    if len(betas) == 0:
        return
    if not any(_HEAD_SHAPE_KEY in bone for bone in armature.data.bones):
        raise ValueError(f"the bones of '{armature.name}' do not know how they follow betas; build the rig again")
    _enter_edit_mode(armature)
    for bone in armature.data.edit_bones:
        if _HEAD_SHAPE_KEY in bone:
            shapedirs = np.array(bone[_HEAD_SHAPE_KEY]).reshape(3, -1)[:, : len(betas)]
            head = np.array(bone[_HEAD_KEY]) + shapedirs @ np.asarray(betas, np.float64)[: shapedirs.shape[1]]
            along = bone.tail - bone.head
            bone.head, bone.tail = head, Vector(head) + along
    bpy.ops.object.mode_set(mode="OBJECT")


def _armature(name: str, arrays: RigArrays, collection: bpy.types.Collection) -> bpy.types.Object:
    data = bpy.data.armatures.new(f"{name}_rig")
    armature = bpy.data.objects.new(f"{name}_rig", data)
    collection.objects.link(armature)
    _enter_edit_mode(armature)
    bones: list[bpy.types.EditBone] = []
    for index, (joint, parent) in enumerate(zip(arrays.joint_names, arrays.parents)):
        bone, head = data.edit_bones.new(joint), arrays.joints[index].astype(float)
        axes = arrays.rest[index].astype(float) if arrays.rest.size else np.eye(3)
        bone.head, bone.tail, bone.roll = head, head + _BONE_LENGTH * axes[:, 1], 0
        if arrays.rest.size:
            bone.align_roll(axes[:, 2])
        bone.parent = bones[parent] if parent >= 0 else None
        bone[_HEAD_KEY] = head.tolist()
        if arrays.joint_shapedirs.size:
            bone[_HEAD_SHAPE_KEY] = arrays.joint_shapedirs[index].astype(float).ravel().tolist()
        bones.append(bone)
    bpy.ops.object.mode_set(mode="OBJECT")
    for pose_bone in armature.pose.bones:
        pose_bone.rotation_mode = "QUATERNION"
    armature.rotation_euler = (math.radians(90), 0, 0)
    return armature


def _enter_edit_mode(armature: bpy.types.Object) -> None:
    if bpy.context.mode != "OBJECT":
        bpy.ops.object.mode_set(mode="OBJECT")
    for other in bpy.context.selected_objects:
        other.select_set(False)
    armature.select_set(True)
    bpy.context.view_layer.objects.active = armature
    bpy.ops.object.mode_set(mode="EDIT")


def _mesh(name: str, arrays: RigArrays) -> bpy.types.Mesh:
    mesh = bpy.data.meshes.new(name)
    mesh.from_pydata(arrays.vertices.tolist(), [], arrays.faces.tolist())
    mesh.polygons.foreach_set("use_smooth", np.ones(len(arrays.faces), bool))
    if len(arrays.uv):
        layer = mesh.uv_layers.new(name="UVMap")
        layer.data.foreach_set("uv", arrays.uv[arrays.face_uv].astype(np.float32).ravel())
    mesh.update()
    return mesh


def _vertex_groups(body: bpy.types.Object, arrays: RigArrays) -> None:
    """One group a joint."""
    for joint in arrays.joint_names:
        body.vertex_groups.new(name=joint)
    kept = np.where(arrays.weights > _LEAST_WEIGHT, arrays.weights, 0.0)
    vertices, joints = np.nonzero(kept)
    values = (kept / kept.sum(1, keepdims=True))[vertices, joints]
    shape = bmesh.new()
    shape.from_mesh(body.data)
    shape.verts.ensure_lookup_table()
    layer, verts = shape.verts.layers.deform.verify(), shape.verts
    for vertex, joint, value in zip(vertices.tolist(), joints.tolist(), values.tolist()):
        verts[vertex][layer][joint] = value
    shape.to_mesh(body.data)
    shape.free()


def _shape_keys(body: bpy.types.Object, arrays: RigArrays) -> None:
    names = [f"{BETA_PREFIX}{i:02d}" for i in range(arrays.shapedirs.shape[2])]
    units = [f"{EXPRESSION_PREFIX}{unit}" for unit in arrays.expression_names]
    if not names and not units:
        return
    body.shape_key_add(name="Basis", from_mix=False)
    groups = ((names, arrays.shapedirs, -5.0, 5.0), (units, arrays.expressions, 0.0, 1.0))
    for key_names, basis, low, high in groups:
        for index, key_name in enumerate(key_names):
            key = body.shape_key_add(name=key_name, from_mix=False)
            key.slider_min, key.slider_max, key.value = low, high, 0.0
            key.data.foreach_set("co", (arrays.vertices + basis[:, :, index]).astype(np.float32).ravel())
