# SPDX-License-Identifier: GPL-3.0-or-later
"""What an artist can do with an actor: load it, drive it, dress it, let it cast shadows, see it live."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import bpy
import numpy as np
from mathutils import Vector

from . import bone_maps, compositor, relative_paths, session, viewport
from .attach import add_expressions, attach
from .attempt import Attempt, FileAttempt, OnAvatar, OnBody
from .errors import SceneError
from .placing import ground_under
from .pose import current_betas
from .properties import AvatarSettings, actor_file, actor_objects, avatar_of, body_mesh, note_facts, owner_scene
from .rig import RigArrays, build_rig, fit_bones
from .wardrobe import picture


class AVATAR_OT_load_actor(FileAttempt, bpy.types.Operator):
    """Load a trained actor: its body and armature appear at the origin, ready to pose"""

    bl_idname = "avatar.load_actor"
    bl_label = "Load Actor"
    bl_options = frozenset({"REGISTER", "UNDO"})

    filter_glob: bpy.props.StringProperty(default="*.actor", options={"HIDDEN"})
    stand_in: bpy.props.BoolProperty(
        name="Cast Shadows", description="Let the body cast shadows and reflections on the set", default=True
    )
    standing: bpy.props.BoolProperty(
        name="Standing", description="The feet are at the place; off: the body's origin is", options={"SKIP_SAVE"}
    )
    location: bpy.props.FloatVectorProperty(
        name="Place", description="Where the actor appears", subtype="TRANSLATION", options={"SKIP_SAVE"}
    )

    def invoke(self, context: bpy.types.Context, event: bpy.types.Event) -> set[str]:
        if self.filepath and context.region_data is not None and context.region.type == "WINDOW":  # dropped
            mouse = event.mouse_region_x, event.mouse_region_y
            self.standing, self.location = True, ground_under(context, mouse)
        return super().invoke(context, event)

    def work(self, context: bpy.types.Context) -> str:
        path = self.actor
        scene = owner_scene(context.scene)
        facts = session.current.actor(path, chosen=True)
        header, arrays = session.current.body(path)
        name = path.stem
        collection = bpy.data.collections.new(name)
        scene.collection.children.link(collection)
        armature, mesh = build_rig(name, _rig_arrays(header, arrays), collection)
        settings = _named(armature, path, facts)
        settings.mesh, settings.latents = mesh, ",".join(facts.schema["latents"])
        armature.show_in_front = True
        _add_vectors(armature, facts.schema)
        add_expressions(mesh, _shape_keys(facts.schema))
        set_stand_in(mesh, self.stand_in)
        armature.location = self.location
        if self.standing:
            context.view_layer.update()
            armature.location.z += self.location[2] - min((mesh.matrix_world @ Vector(at)).z for at in mesh.bound_box)
        if scene.avatar.avatars is not None:
            compositor.set_up(scene)
        if scene.avatar.live:
            viewport.set_live(scene, True)  # its body steps back too
        return f"Loaded {name}: pose its armature, then set up compositing."


class AVATAR_OT_drive_armature(FileAttempt, bpy.types.Operator):
    """Let the active armature drive an actor: one of Rigify, Mixamo, Unreal, MakeHuman, or with bones named alike"""

    bl_idname = "avatar.drive_armature"
    bl_label = "Drive Actor with This Armature"
    bl_options = frozenset({"REGISTER", "UNDO"})

    filter_glob: bpy.props.StringProperty(default="*.actor", options={"HIDDEN"})
    bone_map: bone_maps.choice()

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        if context.object is None or context.object.type != "ARMATURE":
            cls.poll_message_set("Select the armature of your character first")
            return False
        return True

    def work(self, context: bpy.types.Context) -> str:
        armature, path = context.object, self.actor
        facts = session.current.actor(path, chosen=True)
        kept = bone_maps.joint_map(armature, path, facts.schema, bone_maps.chosen(self.bone_map))
        _named(armature, path, facts).joint_map = kept
        scene = owner_scene(context.scene)
        if scene.avatar.avatars is not None:
            compositor.set_up(scene)
        return bone_maps.described(armature, facts.schema)


class AVATAR_OT_read_appearance(OnAvatar, Attempt, bpy.types.Operator):
    """Let the avatar look like the person in its picture (Person, above)"""

    bl_idname = "avatar.read_appearance"
    bl_label = "Look Like This Person"
    bl_options = frozenset({"REGISTER", "UNDO"})

    otherwise = "Select an avatar and choose a picture of a person for it first"

    @staticmethod
    def fits(avatar: bpy.types.Object) -> bool:
        return avatar.avatar.appearance is not None

    def work(self, context: bpy.types.Context) -> str:
        avatar: Any = avatar_of(context.object)  # poll saw to it
        image = avatar.avatar.appearance
        avatar["appearance"] = session.current.appearance(actor_file(avatar), picture(image))
        avatar.update_tag()
        return f"'{avatar.name}' looks like the person in '{image.name}'."


class AVATAR_OT_stand_in(OnBody, Attempt, bpy.types.Operator):
    """Let the avatar's body cast shadows and reflections without being seen; a second click stops it"""

    bl_idname = "avatar.stand_in"
    bl_label = "Cast Shadows"
    bl_options = frozenset({"REGISTER", "UNDO"})

    def work(self, context: bpy.types.Context) -> str:
        avatar: Any = avatar_of(context.object)  # poll saw to it
        mesh: Any = body_mesh(avatar)
        set_stand_in(mesh, not is_stand_in(mesh))
        return f"'{avatar.name}' casts {'shadows' if is_stand_in(mesh) else 'no shadow'}."


class AVATAR_OT_fit_bones(OnAvatar, Attempt, bpy.types.Operator):
    """Move the bones to the joints of the body as its shape sliders (beta_00, …) stand now"""

    bl_idname = "avatar.fit_bones"
    bl_label = "Fit Bones to Shape"
    bl_options = frozenset({"REGISTER", "UNDO"})

    otherwise = "Select an avatar that has bones and a body first"

    @staticmethod
    def fits(avatar: bpy.types.Object) -> bool:
        return avatar.type == "ARMATURE" and body_mesh(avatar) is not None

    def work(self, context: bpy.types.Context) -> str:
        avatar: Any = avatar_of(context.object)  # poll saw to it
        if avatar.library is not None or avatar.data.library is not None:
            raise SceneError(f"'{avatar.name}' is linked from another file: make it local, or fit its bones there.")
        facts = session.current.actor(actor_file(avatar))
        if context.mode != "OBJECT":
            bpy.ops.object.mode_set(mode="OBJECT")
        try:
            fit_bones(avatar, current_betas(body_mesh(avatar), facts.schema["betas"]))
        except ValueError as error:
            raise SceneError(f"{str(error)[:1].upper()}{str(error)[1:]}.") from error
        return "The bones fit the body's shape."


class AVATAR_OT_attach_head(Attempt, bpy.types.Operator):
    """Put the selected head on the active armature: it follows the bone named head, and the body's shape keys"""

    bl_idname = "avatar.attach_head"
    bl_label = "Put Head on Body"
    bl_options = frozenset({"REGISTER", "UNDO"})

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        body = context.object
        if body is None or body.type != "ARMATURE" or not _selected_heads(context):
            cls.poll_message_set("Select a head, then the armature of the body")
            return False
        return True

    def work(self, context: bpy.types.Context) -> str:
        body = context.object
        (head, *others) = _selected_heads(context)
        if others:
            raise SceneError("Several heads are selected: select one, then the armature of the body.")
        if not session.current.actor(actor_file(head)).schema["head"]:
            raise SceneError(f"'{head.avatar.actor_name}' is a whole body: parent it as any other object.")
        count = attach(head, body)
        return f"{head.avatar.actor_name} follows '{body.name}'; {count} of its shape keys follow the body's."


class AVATAR_OT_live(Attempt, bpy.types.Operator):
    """Show the avatars in the 3D view as they will be rendered; a second click shows their bodies again"""

    bl_idname = "avatar.live"
    bl_label = "Live in Viewport"
    bl_options = frozenset({"REGISTER", "UNDO"})

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        if not actor_objects(context.scene):
            cls.poll_message_set("Load an actor first")
            return False
        return True

    def work(self, context: bpy.types.Context) -> str:
        viewport.set_live(context.scene, not context.scene.avatar.live)
        return f"The 3D view shows {'the avatars' if context.scene.avatar.live else 'their bodies'}."


def is_stand_in(mesh: bpy.types.Object) -> bool:
    return not mesh.hide_render and not mesh.visible_camera


def set_stand_in(mesh: bpy.types.Object, on: bool) -> None:
    """A body is never seen by the camera, the avatar is; on: it casts shadows and shows up in mirrors."""
    mesh.visible_camera = False
    mesh.hide_render = not on


_OPERATORS = (
    AVATAR_OT_load_actor,
    AVATAR_OT_drive_armature,
    AVATAR_OT_read_appearance,
    AVATAR_OT_stand_in,
    AVATAR_OT_fit_bones,
    AVATAR_OT_live,
    AVATAR_OT_attach_head,
)
register, unregister = bpy.utils.register_classes_factory(_OPERATORS)


def _named(armature: bpy.types.Object, path: Path, facts: session.ActorFacts) -> AvatarSettings:
    """Makes `armature` the avatar of an actor; returns its settings."""
    settings = armature.avatar
    settings.actor_path, settings.actor_name, settings.packed = relative_paths.stored(path), path.stem, None
    note_facts(armature, facts)
    return settings


def _rig_arrays(header: dict[str, Any], arrays: dict[str, np.ndarray]) -> RigArrays:
    named = {
        "joint_names": tuple(header["joint_names"]),
        "expression_names": tuple(header["expression_names"]),
    }
    return RigArrays(**named, **{name: arrays[name] for name in RigArrays.__dataclass_fields__ if name in arrays})


def _selected_heads(context: bpy.types.Context) -> list[bpy.types.Object]:
    """Avatars that are selected besides the active object and what belongs to it."""
    chosen = {avatar_of(found) for found in context.selected_objects} - {None, avatar_of(context.object)}
    return sorted(chosen, key=lambda found: found.name)


def _shape_keys(schema: dict[str, Any]) -> list[str]:
    """The names, without prefix, that drive a schema's expressions."""
    means = schema.get("shape_keys", {})
    return [key for name in schema["expressions"] for key in means.get(name, [name])]


def _add_vectors(armature: bpy.types.Object, schema: dict[str, Any]) -> None:
    """Custom properties for what no bone or shape key drives; they can be keyed and driven."""
    for name, size in {**schema["latents"], "appearance": schema["appearance"]}.items():
        if size:
            armature[name] = [0.0] * size
            armature.property_overridable_library_set(f'["{name}"]', True)  # where it is linked
            if name in schema["latents"]:  # standard deviations
                armature.id_properties_ui(name).update(min=-10.0, max=10.0, soft_min=-3.0, soft_max=3.0)
