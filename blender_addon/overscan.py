# SPDX-License-Identifier: GPL-3.0-or-later
"""Overscan: the picture goes on beyond the frame, for distortion or shake that is added to it later.

The size of the render grows by whole pixels on each side, and with it the sensor of each camera of the scene, while
its lens stays: a pixel of the frame shows what it showed, only further from the corner. Set and avatars follow alike.
"""

from __future__ import annotations

import bpy

from . import compat
from .errors import SceneError

_RATIO = "avatar_overscan"  # custom property of a camera's data: how much larger its sensor was made
_SENSOR = ("sensor_width", "sensor_height")
_SHIFT = ("shift_x", "shift_y")


def widen(scene: bpy.types.Scene, percent: float) -> tuple[int, int]:
    """Adds so much of the frame's sides on each side, 0 for none; returns the pixels left and right, top and bottom.

    Raises SceneError for cameras that cannot be changed, before anything is.
    """
    cameras = _cameras(scene)
    for data in cameras:
        _check(data)
    render = scene.render
    frame = frame_size(scene)
    x, y = (round(side * percent / 100) for side in frame)
    render.resolution_x, render.resolution_y = wide = frame[0] + 2 * x, frame[1] + 2 * y
    for data in cameras:
        known = data.get(_RATIO, 1.0)
        ratio = _fitted(render, data, wide) / _fitted(render, data, frame)
        for key in _SENSOR:
            setattr(data, key, getattr(data, key) * ratio / known)
        for key in _SHIFT:
            setattr(data, key, getattr(data, key) * known / ratio)
        if ratio != 1:
            data[_RATIO] = ratio
        elif _RATIO in data:
            del data[_RATIO]
    scene.avatar.frame = frame if wide != frame else (0, 0)
    return x, y


def frame_size(scene: bpy.types.Scene) -> tuple[int, int]:
    """The pixels of the frame itself, at 100 %."""
    render, frame = scene.render, scene.avatar.frame
    return (frame[0], frame[1]) if is_wide(scene) else (render.resolution_x, render.resolution_y)


def is_wide(scene: bpy.types.Scene) -> bool:
    return scene.avatar.frame[0] > 0


def left_out(scene: bpy.types.Scene) -> list[str]:
    """Names of cameras that came after the frame was widened."""
    return [data.name for data in _cameras(scene) if is_wide(scene) and _RATIO not in data]


def _cameras(scene: bpy.types.Scene) -> list[bpy.types.Camera]:
    return list({found.data.name_full: found.data for found in scene.objects if found.type == "CAMERA"}.values())


def _check(data: bpy.types.Camera) -> None:
    if data.library is not None:
        raise SceneError(f"Camera '{data.name}' is linked from another file: make it local, or set its overscan there.")
    animated = data.animation_data
    for key in (*_SENSOR, *_SHIFT) if animated is not None else ():
        keyed = animated.action is not None and compat.curves(data, key)
        if keyed or any(driver.data_path == key for driver in animated.drivers):
            what = key.replace("_", " ")
            raise SceneError(f"Camera '{data.name}' has keys or a driver on its {what}: remove them first.")


def _fitted(render: bpy.types.RenderSettings, data: bpy.types.Camera, size: tuple[int, int]) -> float:
    """Pixels along the side that the sensor is fitted to, of the width's measure."""
    width, height = size
    aspect = render.pixel_aspect_y / render.pixel_aspect_x
    fit = data.sensor_fit
    if fit == "AUTO":
        fit = "HORIZONTAL" if width >= height * aspect else "VERTICAL"
    return width if fit == "HORIZONTAL" else height * aspect
