"""What Blender's compositor makes of a scene, as arrays."""

from __future__ import annotations

import tempfile
from importlib import import_module
from pathlib import Path
from typing import Any

import bpy
import numpy as np

ADDON = "bl_ext.user_default.neural_avatars"


def still(scene: bpy.types.Scene, shown: Any = None, frame: int = 1, display: bool = False) -> np.ndarray:
    """A frame [H, W, 4] float32, top row first: what the compositor puts out, or the socket `shown` of its tree.

    display: as the screen shows it, by the scene's view transform (8 bits), instead of scene-linear.
    """
    compat = import_module(f"{ADDON}.compat")
    tree = compat.compositor_tree(scene)
    output = compat.output_socket(tree) if shown is not None else None
    usual = output.links[0].from_socket if output is not None else None
    if shown is not None:
        tree.links.new(shown, output)
    settings = scene.render.image_settings
    settings.file_format, settings.color_depth = ("PNG", "8") if display else ("OPEN_EXR", "32")
    try:
        with tempfile.TemporaryDirectory() as folder:
            scene.frame_set(frame)
            scene.render.filepath = str(Path(folder) / ("still.png" if display else "still.exr"))
            bpy.ops.render.render(write_still=True, scene=scene.name)
            assert not import_module(f"{ADDON}.failures").found()
            return read(scene.render.filepath)
    finally:
        if usual is not None:
            tree.links.new(usual, output)


def render_error() -> str:
    """Renders the first frame; the error's sentence, or nothing. A failed frame leaves no picture."""
    scene = bpy.context.scene
    scene.frame_start = scene.frame_end = 1
    with tempfile.TemporaryDirectory() as folder:
        scene.render.filepath = str(Path(folder) / "x")
        bpy.ops.render.render(animation=True)
        message = "".join(import_module(f"{ADDON}.failures").found())
        assert bool(list(Path(folder).iterdir())) == (message == ""), message
    return message


def read(path: str) -> np.ndarray:
    """A file as [H, W, 4] floats, top row first."""
    image = bpy.data.images.load(path)
    image.colorspace_settings.name = "Non-Color"
    width, height = image.size
    values = np.empty(width * height * 4, np.float32)
    image.pixels.foreach_get(values)
    bpy.data.images.remove(image)
    return values.reshape(height, width, 4)[::-1]
