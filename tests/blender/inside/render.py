"""Renders a .blend as `blender -b FILE …` does, for the module bpy, which has no command line; and its parts.

animate FILE OUTPUT             like -o OUTPUT -a
set FILE OUTPUT                 the same without the compositor: the set alone, with depth, in all channels
avatars FILE OUTPUT             the scene of the avatars alone, with all passes
command FILE ARGUMENTS …        like --command avatar ARGUMENTS …
"""

from __future__ import annotations

import importlib

import bpy

ADDON = "bl_ext.user_default.neural_avatars"


def main(arguments: list[str]) -> int:
    kind, path, *rest = arguments
    bpy.ops.wm.open_mainfile(filepath=path)
    if kind == "command":
        return importlib.import_module(f"{ADDON}.cli").run(rest)
    scene = bpy.context.scene
    if kind == "avatars":
        scene.avatar.avatars.render.resolution_x = scene.render.resolution_x
        scene.avatar.avatars.render.resolution_y = scene.render.resolution_y
        scene.avatar.avatars.render.resolution_percentage = scene.render.resolution_percentage
        scene = scene.avatar.avatars
    scene.render.filepath = rest[0]
    if kind != "animate":
        scene.render.use_compositing = False
        for layer in scene.view_layers:
            layer.use_pass_z = True
        settings = scene.render.image_settings
        if hasattr(settings, "media_type"):
            settings.media_type = "MULTI_LAYER_IMAGE"
        settings.file_format, settings.color_depth, settings.exr_codec = "OPEN_EXR_MULTILAYER", "32", "ZIP"
    try:
        bpy.ops.render.render(animation=True, scene=scene.name)
    except RuntimeError as error:
        print(error, flush=True)
        return 1
    return 1 if importlib.import_module(f"{ADDON}.failures").found() else 0
