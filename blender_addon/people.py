# SPDX-License-Identifier: GPL-3.0-or-later
"""People of actors that have codes: sample, edit and key them, and make ordinary meshes of them.

A code is a custom property of the avatar's armature, one number for each principal axis of the people that the actor
was trained on, in standard deviations; zeros are the mean person.
"""

from __future__ import annotations

from typing import Any

import bpy
import numpy as np

from . import session
from .attach import follow_key
from .attempt import Attempt, OnAvatar
from .pose import current_betas, read_controls
from .properties import actor_file, avatar_of, body_mesh
from .rig import RigArrays, build_rig, fit_bones

RELIEF, NORMALS, COLOURS = "detail", "detail_normal", "Color"  # a shape key and attributes


class _OnPerson(OnAvatar):
    """An operator's part that wants an avatar with codes to be active."""

    otherwise = "Select an avatar that generates people first"

    @staticmethod
    def fits(avatar: bpy.types.Object) -> bool:
        return bool(codes(avatar))


class AVATAR_OT_sample_person(_OnPerson, Attempt, bpy.types.Operator):
    """A new person, drawn by chance. The same seed is the same person again"""

    bl_idname = "avatar.sample_person"
    bl_label = "Sample"
    bl_options = frozenset({"REGISTER", "UNDO"})

    seed: bpy.props.IntProperty(name="Seed", description="Which person: any number", default=42, min=0)
    spread: bpy.props.FloatProperty(
        name="Spread", description="1: people as different as real ones; 0: the average person", default=1.0, min=0.0
    )

    def work(self, context: bpy.types.Context) -> str:
        actor: Any = avatar_of(context.object)  # poll saw to it
        sample(actor, self.seed, self.spread)
        return f"'{actor.name}' is person {self.seed}."


class AVATAR_OT_key_person(_OnPerson, Attempt, bpy.types.Operator):
    """Key this person now and another one some frames later: in between, one becomes the other"""

    bl_idname = "avatar.key_person"
    bl_label = "Key and Change"
    bl_options = frozenset({"REGISTER", "UNDO"})

    frames: bpy.props.IntProperty(name="Frames", description="Until the other person", default=24, min=1)
    seed: bpy.props.IntProperty(name="Seed", description="Of the other person", default=43, min=0)

    def work(self, context: bpy.types.Context) -> str:
        actor: Any = avatar_of(context.object)  # poll saw to it
        scene, first = context.scene, context.scene.frame_current
        key(actor, first)
        scene.frame_set(first + self.frames)
        sample(actor, self.seed, 1.0)
        key(actor, scene.frame_current)
        return f"From frame {first} to {scene.frame_current} '{actor.name}' becomes person {self.seed}."


class AVATAR_OT_make_mesh(OnAvatar, Attempt, bpy.types.Operator):
    """Make an ordinary mesh of this person: Cycles and EEVEE render it, it is exported as any mesh. It follows the
    avatar's bones and body shape; press again after changing the person's sliders"""

    bl_idname = "avatar.make_mesh"
    bl_label = "Make Mesh"
    bl_options = frozenset({"REGISTER", "UNDO"})

    detail: bpy.props.IntProperty(
        name="Detail", description="Of the mesh: 1 is 10 mm, 2 is 5 mm, 4 is 2.5 mm", default=2, min=1, max=4
    )

    otherwise = "Select the armature of an avatar that generates people first"

    @staticmethod
    def fits(avatar: bpy.types.Object) -> bool:
        return avatar.type == "ARMATURE" and bool(codes(avatar))

    def work(self, context: bpy.types.Context) -> str:
        actor: Any = avatar_of(context.object)  # poll saw to it
        made = make_mesh(actor, context, self.detail)
        return f"Made '{made.name}': {len(made.data.vertices)} vertices; the avatar itself is not rendered any more."


def codes(actor: bpy.types.Object | None) -> list[str]:
    """Names of the custom properties that are codes."""
    if actor is None:
        return []
    return [name for name in actor.avatar.latents.split(",") if name and name in actor]


def sample(actor: bpy.types.Object, seed: int, spread: float) -> None:
    """A person of the seed: independent normal numbers, times `spread`, in each code."""
    random = np.random.default_rng(seed)
    for name in codes(actor):
        actor[name][:] = (spread * random.standard_normal(len(actor[name]))).tolist()
    actor.update_tag()


def key(actor: bpy.types.Object, frame: int) -> None:
    for name in codes(actor):
        actor.keyframe_insert(f'["{name}"]', frame=frame, group="Person")


def make_mesh(actor: bpy.types.Object, context: bpy.types.Context, detail: int) -> bpy.types.Object:
    """The mesh of the person that `actor` is in this frame. Raises WorkerError, SceneError."""
    path, body = actor_file(actor), body_mesh(actor)
    schema = session.current.actor(path).schema
    posed = read_controls(actor, body, schema, context.evaluated_depsgraph_get()).controls
    header, planes = session.current.rigged(path, {name: posed[name] for name in ("betas", "latents")}, detail)
    joints = tuple(header["joint_names"])
    arrays = RigArrays(
        uv=np.zeros((0, 2)),
        face_uv=np.zeros((0, 3), int),
        joint_names=joints,
        parents=np.array(header["parents"]),
        expressions=np.zeros((len(planes["vertices"]), 3, 0)),
        expression_names=(),
        **{name: planes[name] for name in _SHARED},
    )
    remove_mesh(actor)
    name = actor.avatar.actor_name or actor.name
    rig, mesh = build_rig(f"{name} person", arrays, actor.users_collection[0])
    rig.parent, rig.rotation_euler = actor, (0, 0, 0)
    betas = current_betas(body, schema["betas"])
    fit_bones(rig, betas)
    fit_bones(actor, betas)
    _follow(rig, actor, joints)
    _follow_shape(mesh, body, betas)
    if len(planes["normals"]):
        attribute = mesh.data.attributes.new(NORMALS, "FLOAT_VECTOR", "POINT")
        attribute.data.foreach_set("vector", planes["normals"].ravel())
        block = mesh.shape_key_add(name=RELIEF, from_mix=False)
        block.data.foreach_set("co", (planes["vertices"] + planes["relief"]).ravel())
        block.value = 1.0
    coloured = len(planes["colours"]) > 0
    if coloured:
        colours = mesh.data.color_attributes.new(COLOURS, "FLOAT_COLOR", "POINT")
        colours.data.foreach_set("color_srgb", np.pad(planes["colours"], ((0, 0), (0, 1)), constant_values=1.0).ravel())
    mesh.data.materials.append(_skin(coloured))
    rig.hide_set(True)
    actor.avatar.person_mesh, actor.hide_render = mesh, True
    if body is not None:
        body.hide_render = True
    context.view_layer.objects.active = actor
    return mesh


def remove_mesh(actor: bpy.types.Object) -> None:
    mesh = actor.avatar.person_mesh
    rig = mesh.parent if mesh is not None else None
    if mesh is None or rig is None or rig.parent != actor:  # a duplicated avatar names the first's
        return
    data, bones = mesh.data, rig.data
    bpy.data.objects.remove(mesh)
    bpy.data.meshes.remove(data)
    bpy.data.objects.remove(rig)
    bpy.data.armatures.remove(bones)


_OPERATORS = (AVATAR_OT_sample_person, AVATAR_OT_key_person, AVATAR_OT_make_mesh)
register, unregister = bpy.utils.register_classes_factory(_OPERATORS)
_SHARED = ("vertices", "faces", "weights", "shapedirs", "joints", "joint_shapedirs", "rest")


def _follow(rig: bpy.types.Object, actor: bpy.types.Object, joints: tuple[str, ...]) -> None:
    """The person's bones rest elsewhere, but are where the avatar's are when posed."""
    for joint in joints:
        constraint = rig.pose.bones[joint].constraints.new("COPY_TRANSFORMS")
        constraint.target, constraint.subtarget = actor, joint
        constraint.owner_space = constraint.target_space = "POSE"
    rig.keyframe_insert("location", frame=1)  # Blender's USD exporter samples bones only where there is a key


def _follow_shape(mesh: bpy.types.Object, body: bpy.types.Object | None, betas: np.ndarray) -> None:
    """Drives the person's shape keys by those of the avatar's body of the same names."""
    keys = body.data.shape_keys if body is not None else None
    for block, value in zip(mesh.data.shape_keys.key_blocks[1:], betas.tolist()):
        block.value = value
        if keys is None or block.name not in keys.key_blocks:
            continue
        follow_key(block, keys)


def _skin(coloured: bool) -> bpy.types.Material:
    name = "Avatar Colours" if coloured else "Avatar Clay"
    material = bpy.data.materials.get(name)
    if material is None:
        material = bpy.data.materials.new(name)
        material.use_nodes = True
        tree = material.node_tree
        shader = next(node for node in tree.nodes if node.bl_idname == "ShaderNodeBsdfPrincipled")
        shader.inputs["Base Color"].default_value = (0.6, 0.56, 0.52, 1)
        shader.inputs["Roughness"].default_value = 0.7
        if coloured:
            source = tree.nodes.new("ShaderNodeVertexColor")
            source.layer_name = COLOURS
            tree.links.new(source.outputs["Color"], shader.inputs["Base Color"])
    return material
