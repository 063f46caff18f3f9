# SPDX-License-Identifier: GPL-3.0-or-later
"""Where the renderer lives: an interpreter outside of Blender that has avatar-core."""

from __future__ import annotations

import os

import bpy

from . import install_operators, worker_setup
from .renderer_panels import draw_install, draw_status


class ActorFolder(bpy.types.PropertyGroup):
    path: bpy.props.StringProperty(name="Folder", description="Its .actor files are in the library", subtype="DIR_PATH")


class AvatarPreferences(bpy.types.AddonPreferences):
    bl_idname = __package__

    python: bpy.props.StringProperty(
        name="Python",
        description="A Python in which avatar-core is installed; empty: the one that Install Renderer made",
        subtype="FILE_PATH",
    )
    device: bpy.props.EnumProperty(
        name="Device",
        description="Where avatars are rendered",
        items=(
            ("auto", "Automatic", "The GPU where there is one, else the CPU"),
            ("cpu", "CPU", "The processor"),
            ("cuda", "CUDA", "An NVIDIA GPU"),
            ("mps", "Metal", "The GPU of a Mac"),
        ),
    )
    threads: bpy.props.IntProperty(
        name="CPU Threads", description="For rendering on the CPU; 0 takes all", min=0, soft_max=64
    )
    actor_folders: bpy.props.CollectionProperty(
        name="Actor Folders", description="Their .actor files are in the library", type=ActorFolder
    )
    command: bpy.props.StringProperty(
        name="Command",
        description="In place of Python: a whole command line, such as: ssh render-box avatars/bin/avatar worker",
    )
    folders: bpy.props.StringProperty(
        name="Folders",
        description="What the machine of Command calls the folders with the actors: /shows=/mnt/shows, several with ;",
    )

    def draw(self, context: bpy.types.Context) -> None:
        layout = self.layout
        layout.use_property_split = True
        overridden = os.environ.get(worker_setup.COMMAND_VARIABLE)
        if overridden:
            said = f"The environment variable {worker_setup.COMMAND_VARIABLE} counts instead: {overridden}"
            layout.label(text=said, icon="INFO")
        missing = worker_setup.missing() or bool(install_operators.progress())
        if missing:
            draw_install(layout, context)
            layout.label(text="Or a renderer that is there already:")
        column = layout.column()
        column.active = not overridden
        column.prop(self, "python")
        row = column.row()
        row.active = not self.command
        row.prop(self, "device")
        row = column.row()
        row.active = not self.command
        row.prop(self, "threads")
        column.prop(self, "command")
        if self.command:
            column.prop(self, "folders")
        shelves = layout.column(heading="Actor Folders", align=True)
        for index, folder in enumerate(self.actor_folders):
            row = shelves.row(align=True)
            row.prop(folder, "path", text="")
            row.operator("avatar.remove_folder", text="", icon="X").index = index
        shelves.operator("avatar.add_folder", text="Add Folder of Actors", icon="ADD")
        if missing:
            return
        row = layout.row()
        row.operator("avatar.check_worker", icon="CHECKMARK")
        row.operator("avatar.install_renderer", text="Install Again", icon="IMPORT")
        row.operator("avatar.copy_install", icon="COPYDOWN")
        draw_status(layout, context)


def register() -> None:
    bpy.utils.register_class(ActorFolder)
    bpy.utils.register_class(AvatarPreferences)


def unregister() -> None:
    bpy.utils.unregister_class(AvatarPreferences)
    bpy.utils.unregister_class(ActorFolder)
