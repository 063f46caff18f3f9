# SPDX-License-Identifier: GPL-3.0-or-later
"""The sidebar tab Avatar of the 3D view."""

from __future__ import annotations

from typing import Any

import bpy

from . import baked, colours, compositor, library, obstacles, overscan
from .errors import SceneError
from .linked import linked_collection
from .operators import AVATAR_OT_attach_head, is_stand_in
from .people import codes
from .properties import actor_file, actor_objects, avatar_of, body_mesh, mask_names, owner_scene
from .renderer_panels import draw_text

_AXES = 8  # of a code, sliders for the largest


class _AvatarPanel:
    bl_space_type = "VIEW_3D"
    bl_region_type = "UI"
    bl_category = "Avatar"


class AVATAR_PT_library(_AvatarPanel, bpy.types.Panel):
    bl_label = "Library"

    def draw(self, context: bpy.types.Context) -> None:
        library.draw(self.layout, context.region.width / context.preferences.system.ui_scale)


class AVATAR_PT_actor(_AvatarPanel, bpy.types.Panel):
    bl_label = "Actor"

    def draw(self, context: bpy.types.Context) -> None:
        layout = self.layout
        layout.use_property_split = True
        layout.use_property_decorate = False
        row = layout.row()
        row.scale_y = 1.4
        row.operator("avatar.load_actor", icon="IMPORT")
        if context.object is not None and context.object.type == "ARMATURE":
            layout.operator("avatar.drive_armature", icon="ARMATURE_DATA")
        if context.active_pose_bone is not None:
            layout.operator_menu_enum("avatar.tell_bone", "part", icon="BONE_DATA")
        if linked_collection(context.object) is not None:
            layout.operator("avatar.pose_here", icon="LIBRARY_DATA_OVERRIDE")
        if AVATAR_OT_attach_head.poll(context):
            layout.operator("avatar.attach_head", icon="LINKED")
        actor = avatar_of(context.object)
        if actor is None:
            layout.label(text="Select an avatar, or load an actor", icon="INFO")
            return
        settings = actor.avatar
        layout.prop(settings, "actor_name")
        _draw_file(layout, context, actor)
        layout.prop(settings, "quality")
        if "appearance" in actor or settings.joint_map:
            row = layout.row(align=True)
            row.template_ID(settings, "appearance", open="image.open")
            row.operator("avatar.read_appearance", text="", icon="CHECKMARK")
        if settings.joint_map:
            row = layout.row(align=True)
            row.operator_menu_enum("avatar.apply_bone_map", "bone_map", text="Bone Map", icon="GROUP_BONE")
            row.operator("avatar.save_bone_map", text="", icon="FILE_TICK")
        if actor.parent_type == "BONE":
            layout.prop(settings, "ahead")
        facts = layout.column(align=True)
        method = settings.method.replace("_", " ") or "unknown method"
        facts.label(text=f"{method}, {settings.licence or 'no licence given'}")
        facts.label(text=f"Mask pass: {mask_names(context.scene).get(actor.name, '')}")


class AVATAR_PT_rig(_AvatarPanel, bpy.types.Panel):
    bl_label = "Body"

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        return avatar_of(context.object) is not None

    def draw(self, context: bpy.types.Context) -> None:
        layout = self.layout
        layout.use_property_split = True
        layout.use_property_decorate = False
        actor: Any = avatar_of(context.object)
        layout.prop(actor.avatar, "mesh")
        mesh = body_mesh(actor)
        if mesh is not None:
            layout.operator("avatar.stand_in", depress=is_stand_in(mesh), icon="LIGHT_SUN")
            layout.operator("avatar.fit_bones", icon="BONE_DATA")


class AVATAR_PT_shape(_AvatarPanel, bpy.types.Panel):
    bl_label = "Shape and Expression"
    bl_parent_id = "AVATAR_PT_rig"
    bl_options = frozenset({"DEFAULT_CLOSED"})

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        return bool(_sliders(context))

    def draw(self, context: bpy.types.Context) -> None:
        column = self.layout.column(align=True)
        for block in _sliders(context):
            column.prop(block, "value", text=block.name.removeprefix("expr_"), slider=True)


class AVATAR_PT_motion(_AvatarPanel, bpy.types.Panel):
    bl_label = "Motion"
    bl_parent_id = "AVATAR_PT_rig"

    def draw(self, context: bpy.types.Context) -> None:
        column = self.layout.column(align=True)
        column.operator("avatar.import_motion", icon="IMPORT")
        column.operator_menu_enum("avatar.sample_motion", "clip", icon="ARMATURE_DATA")
        column.operator("avatar.import_faces", icon="USER")
        column.operator("avatar.bake_motion", icon="KEYFRAME")
        column.operator("avatar.export_motion", icon="EXPORT")


class AVATAR_PT_viewport(_AvatarPanel, bpy.types.Panel):
    bl_label = "Viewport"

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        return bool(actor_objects(context.scene))

    def draw(self, context: bpy.types.Context) -> None:
        layout = self.layout
        layout.use_property_split = True
        settings = context.scene.avatar
        layout.operator("avatar.live", depress=settings.live, icon="SHADING_RENDERED")
        if settings.live:
            layout.prop(settings, "live_seconds")


class AVATAR_PT_person(_AvatarPanel, bpy.types.Panel):
    bl_label = "Person"

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        return bool(codes(avatar_of(context.object)))

    def draw(self, context: bpy.types.Context) -> None:
        layout = self.layout
        actor: Any = avatar_of(context.object)
        row = layout.row(align=True)
        row.operator("avatar.sample_person", icon="COMMUNITY")
        row.operator("avatar.key_person", icon="KEY_HLT")
        row = layout.row()
        row.scale_y = 1.4
        row.operator("avatar.make_mesh", icon="OUTLINER_OB_MESH")
        for name in codes(actor):
            layout.label(text=name.capitalize())
            column = layout.column(align=True)
            for axis in range(min(len(actor[name]), _AXES)):
                column.prop(actor, f'["{name}"]', index=axis, text=f"{axis + 1}", slider=True)


class AVATAR_PT_compositing(_AvatarPanel, bpy.types.Panel):
    bl_label = "Compositing"

    def draw(self, context: bpy.types.Context) -> None:
        layout = self.layout
        scene = owner_scene(context.scene)
        if not compositor.is_set_up(scene):
            row = layout.row()
            row.scale_y = 1.4
            row.operator("avatar.setup_compositing", icon="NODE_COMPOSITING")
            return
        layout.label(text=f"Merged by depth from '{scene.avatar.avatars.name}'", icon="CHECKMARK")
        missing = compositor.missing_links(scene)
        if missing:
            layout.label(text=f"Not rendered yet: {', '.join(missing)}", icon="ERROR")
        obstacle = obstacles.obstacle(scene)
        if obstacle:
            draw_text(layout, context, obstacle, "ERROR")
        if scene.render.use_motion_blur or (scene.camera is not None and scene.camera.data.dof.use_dof):
            layout.prop(scene.avatar, "blur_samples")
        picture = baked.source(scene)
        if picture is None:
            layout.operator("avatar.use_baked", icon="RENDERLAYERS")
        else:
            row = layout.row(align=True)
            row.label(text=f"{picture.frame_duration} baked frames", icon="RENDERLAYERS")
            row.operator("avatar.render_again")
        _draw_colours(layout, context, scene)
        _draw_overscan(layout, context, scene)
        row = layout.row(align=True)
        row.operator("avatar.setup_compositing", text="Refresh", icon="FILE_REFRESH")
        row.operator("avatar.remove_compositing", text="Remove", icon="X")


_PANELS = (
    AVATAR_PT_library,
    AVATAR_PT_actor,
    AVATAR_PT_rig,
    AVATAR_PT_shape,
    AVATAR_PT_person,
    AVATAR_PT_motion,
    AVATAR_PT_viewport,
    AVATAR_PT_compositing,
)
register, unregister = bpy.utils.register_classes_factory(_PANELS)


def _draw_file(layout: Any, context: bpy.types.Context, actor: bpy.types.Object) -> None:
    """Where the actor is kept, and what can be done about it."""
    if actor.avatar.packed is not None:
        row = layout.row(align=True)
        row.label(text="Packed into this .blend", icon="PACKAGE")
        row.operator("avatar.unpack_actor", text="Unpack")
        return
    row = layout.row(align=True)
    row.prop(actor.avatar, "actor_path", text="File")
    row.operator("avatar.pack_actor", text="", icon="UGLYPACKAGE")
    try:
        missing = "" if actor_file(actor).is_file() else "This file is not here"
    except SceneError as error:
        missing = str(error)
    if missing:
        box = layout.box()
        draw_text(box, context, missing, "ERROR")
        box.operator("avatar.find_actor", icon="FILEBROWSER")


def _sliders(context: bpy.types.Context) -> list[bpy.types.ShapeKey]:
    actor = avatar_of(context.object)
    mesh = body_mesh(actor) if actor is not None else None
    keys = mesh.data.shape_keys if mesh is not None and mesh.type == "MESH" else None
    return [block for block in keys.key_blocks if block != keys.reference_key] if keys is not None else []


def _draw_colours(layout: Any, context: bpy.types.Context, scene: bpy.types.Scene) -> None:
    view, of_set = scene.view_settings.view_transform, colours.view_of_set(scene)
    if of_set:
        layout.label(text=f"{of_set} for the set alone", icon="COLOR")
    elif view != colours.STANDARD:
        draw_text(layout, context, f"{view} changes the captured colours of avatars", "ERROR")
    else:
        return
    layout.operator("avatar.keep_colours", depress=bool(of_set))


def _draw_overscan(layout: Any, context: bpy.types.Context, scene: bpy.types.Scene) -> None:
    late = overscan.left_out(scene)
    if late:
        draw_text(layout, context, f"Without overscan yet: {', '.join(late)}. Press Overscan again", "ERROR")
    if overscan.is_wide(scene):
        width, height = overscan.frame_size(scene)
        layout.label(text=f"Frame {width} x {height} in the middle", icon="FULLSCREEN_EXIT")
    layout.operator("avatar.overscan", icon="FULLSCREEN_ENTER")
