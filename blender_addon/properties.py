# SPDX-License-Identifier: GPL-3.0-or-later
"""What an avatar is in a .blend file: settings on its armature, and the link between two scenes."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import bpy

from . import compat, packing
from .drive import has_fingers
from .errors import SceneError

if TYPE_CHECKING:
    from .session import ActorFacts

ENGINE = "AVATAR"
LIMB_PASS = "Limb"
VERSION = 2  # of all these properties, see migration.py
_LABEL_LENGTH = 40  # bytes of a mask's name; Blender cuts names of passes off at 63
_QUALITIES = (
    ("draft", "Draft", "Fastest: for timing and blocking"),
    ("preview", "Preview", "Good enough to judge a shot"),
    ("final", "Final", "All the detail the actor has"),
)


_OVERRIDE = {"LIBRARY_OVERRIDABLE"}  # what an artist may change on an avatar that another .blend holds


class AvatarSettings(bpy.types.PropertyGroup):
    """On the object that poses an actor; an object without an actor file is no avatar."""

    version: bpy.props.IntProperty(options={"HIDDEN"})  # 0: of before there were versions
    actor_path: bpy.props.StringProperty(
        name="Actor",
        description="The trained .actor file; may start with // for the .blend's folder",
        subtype="FILE_PATH",
        options=compat.PATH_OPTIONS,
        override=_OVERRIDE,
    )
    packed: bpy.props.PointerProperty(
        name="Packed",
        description="Holds the actor's file inside of this .blend; it wins over the file on disk",
        type=bpy.types.Image,
        override=_OVERRIDE,
    )
    actor_name: bpy.props.StringProperty(name="Name", description="Names the mask: Mask <name>", override=_OVERRIDE)
    quality: bpy.props.EnumProperty(
        name="Quality",
        description="How much time a frame may take",
        items=_QUALITIES,
        default="final",
        options=set(),
        override=_OVERRIDE,
    )
    mesh: bpy.props.PointerProperty(
        name="Body",
        description="The mesh whose shape keys set body shape and expression",
        type=bpy.types.Object,
        override=_OVERRIDE,
    )
    ahead: bpy.props.FloatProperty(
        name="In Front By",
        description="Counts as so much closer than other avatars: for a head on a body that has one of its own",
        subtype="DISTANCE",
        min=0,
        soft_max=0.2,
        override=_OVERRIDE,
    )
    joint_map: bpy.props.StringProperty(
        name="Bone Map",
        description="JSON: which bones are which of the actor's joints, for an armature that is not the actor's own",
        override=_OVERRIDE,
    )
    appearance: bpy.props.PointerProperty(
        name="Person",
        description="A picture of the person that the actor should look like, who fills it",
        type=bpy.types.Image,
        override=_OVERRIDE,
    )
    person_mesh: bpy.props.PointerProperty(
        name="Mesh",
        description="The mesh that Make Mesh made of this avatar, with bones that follow it",
        type=bpy.types.Object,
    )
    latents: bpy.props.StringProperty(options={"HIDDEN"})  # names of custom properties, with commas
    method: bpy.props.StringProperty(name="Method", options={"HIDDEN"})
    licence: bpy.props.StringProperty(name="Licence", options={"HIDDEN"})
    limbs: bpy.props.BoolProperty(options={"HIDDEN"})  # the actor's pictures tell which limb shows
    fingers: bpy.props.BoolProperty(options={"HIDDEN"})  # bones can pose the actor's fingers
    display: bpy.props.StringProperty(options={"HIDDEN"})  # of a body, see viewport.set_live


class AvatarSceneSettings(bpy.types.PropertyGroup):
    """On a scene: its partner, and what its compositor was before."""

    version: bpy.props.IntProperty(options={"HIDDEN"})
    avatars: bpy.props.PointerProperty(
        name="Avatars", description="The scene that renders this scene's avatars", type=bpy.types.Scene
    )
    owner: bpy.props.PointerProperty(
        name="Owner", description="The scene whose avatars are rendered here", type=bpy.types.Scene
    )
    before: bpy.props.StringProperty(options={"HIDDEN"})  # JSON, see compositor.py
    view: bpy.props.StringProperty(options={"HIDDEN"})  # JSON, see colours.py
    frame: bpy.props.IntVectorProperty(size=2, options={"HIDDEN"})  # pixels, see overscan.py; zeros: all is frame
    live: bpy.props.BoolProperty(options={"HIDDEN"})  # see viewport.py
    blur_samples: bpy.props.IntProperty(
        name="Blur Samples",
        description="Pictures that are averaged where motion blur or the camera's depth of field is on; 1 keeps avatars"
        " sharp",
        min=1,
        soft_max=32,
        max=256,
        default=8,
        options=set(),
    )
    live_seconds: bpy.props.FloatProperty(
        name="Time per Picture",
        description="Views are refined until the next finer picture would take longer than this",
        min=0.1,
        soft_max=10,
        default=2,
        unit="TIME_ABSOLUTE",
        options=set(),
    )


def actor_objects(scene: bpy.types.Scene) -> list[bpy.types.Object]:
    """The avatars of a scene, by name."""
    return sorted((o for o in scene.objects if o.avatar.actor_path), key=lambda o: o.name)


def mask_names(scene: bpy.types.Scene) -> dict[str, str]:
    """For the name of each avatar's object, the name of its mask pass; no two alike."""
    names: dict[str, str] = {}
    for actor in actor_objects(scene):
        label = (actor.avatar.actor_name or actor.name).replace(".", "_")
        label = label.encode()[:_LABEL_LENGTH].decode(errors="ignore")
        number, name = 1, f"Mask {label}"
        while name in names.values():
            number += 1
            name = f"Mask {label}_{number}"
        names[actor.name] = name
    return names


def has_limbs(scene: bpy.types.Scene) -> bool:
    """Whether an avatar of the scene tells which limb shows in a pixel."""
    return any(actor.avatar.limbs for actor in actor_objects(scene))


def note_facts(actor: bpy.types.Object, facts: ActorFacts) -> None:
    """Keeps on an avatar what panels and passes need to know of its actor where no worker can be asked."""
    settings = actor.avatar
    settings.method = str(facts.metadata.get("method", ""))
    settings.licence = str(facts.metadata.get("licence", ""))
    settings.limbs = bool(facts.limbs)
    settings.fingers = has_fingers(facts.schema)


def owner_scene(scene: bpy.types.Scene) -> bpy.types.Scene:
    """The scene whose camera and size count; a scene that nobody owns is its own."""
    return scene.avatar.owner or scene


def actor_file(actor: bpy.types.Object) -> Path:
    """The absolute path of an avatar's file; a packed one is unpacked into the cache.

    Raises SceneError for // in a .blend that was never saved, for damaged packed bytes, and for an avatar of a newer
    version of this extension.
    """
    check_version(actor)
    if actor.avatar.packed is not None:
        return packing.extracted(actor.avatar.packed)
    path, home = actor.avatar.actor_path, _home(actor)
    if path.startswith("//") and not bpy.data.filepath and home is None:
        raise SceneError(
            f"'{actor.name}' has the relative path {path}, but this .blend was never saved: save it first."
        )
    return Path(os.path.abspath(bpy.path.abspath(path, library=home)))


def check_version(found: bpy.types.Object | bpy.types.Scene) -> None:
    """Raises SceneError for settings of a newer version of this extension, which this one may misread."""
    if found.avatar.version > VERSION:
        raise SceneError(
            f"'{found.name}' was saved by a newer version of Neural Avatars: update the extension in Edit >"
            " Preferences > Get Extensions."
        )


def _home(actor: bpy.types.Object) -> bpy.types.Library | None:
    """The .blend whose folder is meant by // in an avatar's path; None: the open one."""
    override = actor.override_library
    linked = override.reference if override is not None else None
    if linked is not None and linked.avatar.actor_path == actor.avatar.actor_path:
        return linked.library
    return actor.library


def body_mesh(actor: bpy.types.Object) -> bpy.types.Object | None:
    """The mesh with an avatar's shape keys. A duplicated rig names the first's body; its own child wins."""
    chosen = actor.avatar.mesh
    if chosen is not None and chosen.find_armature() == actor:
        return chosen
    own = (child for child in actor.children if child.type == "MESH" and child.find_armature() == actor)
    return next(own, chosen)


def avatar_of(found: bpy.types.Object | None) -> bpy.types.Object | None:
    """The avatar that an object belongs to: itself, or its parent (the body of a rig)."""
    while found is not None and not found.avatar.actor_path:
        found = found.parent
    return found


def register() -> None:
    bpy.utils.register_class(AvatarSettings)
    bpy.utils.register_class(AvatarSceneSettings)
    bpy.types.Object.avatar = bpy.props.PointerProperty(type=AvatarSettings, override=_OVERRIDE)
    bpy.types.Scene.avatar = bpy.props.PointerProperty(type=AvatarSceneSettings)


def unregister() -> None:
    del bpy.types.Scene.avatar
    del bpy.types.Object.avatar
    bpy.utils.unregister_class(AvatarSceneSettings)
    bpy.utils.unregister_class(AvatarSettings)
