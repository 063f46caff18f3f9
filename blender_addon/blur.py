# SPDX-License-Identifier: GPL-3.0-or-later
"""Motion blur and depth of field as a mean of sharp pictures: over the shutter's time, and over the lens."""

from __future__ import annotations

import math
from dataclasses import dataclass

import bpy
import numpy as np

from . import compat
from .layers import EMPTY_DEPTH, Picture

_GOLDEN_ANGLE = math.pi * (3 - math.sqrt(5))
_GOLDEN_SHARE = (math.sqrt(5) - 1) / 2


@dataclass(frozen=True)
class Lens:
    """Where on the lens a picture is seen from: metres along the camera's x and y; focus: metres that stay sharp."""

    x: float = 0.0
    y: float = 0.0
    focus: float = math.inf


@dataclass(frozen=True)
class Sample:
    """time: frames after the current one."""

    time: float = 0.0
    lens: Lens = Lens()


def samples(scene: bpy.types.Scene, camera: bpy.types.Object) -> list[Sample]:
    """What is averaged for a frame of the owner scene; one sharp sample where neither blur is on.

    camera: evaluated, perspective. The shutter is Blender's; the aperture is round (no blades, no ratio).
    """
    if camera.type != "CAMERA":
        return [Sample()]  # the camera's own check says what is wrong
    count, shutter = scene.avatar.blur_samples, compat.shutter(scene)
    focus = focus_distance(camera) if camera.data.dof.use_dof else math.inf
    radius = camera.data.lens * 1e-3 / (2 * camera.data.dof.aperture_fstop) if math.isfinite(focus) else 0.0
    if count == 1 or (shutter is None and radius == 0):
        return [Sample()]
    opens, closes = shutter or (0.0, 0.0)
    stride = max(round(count * _GOLDEN_SHARE), 1)
    while math.gcd(stride, count) != 1:
        stride += 1
    found = []
    for i in range(count):
        place = i * stride % count  # early times are spread over the lens
        from_centre, angle = radius * math.sqrt((place + 0.5) / count), place * _GOLDEN_ANGLE
        lens = Lens(from_centre * math.cos(angle), from_centre * math.sin(angle), focus)
        found.append(Sample(opens + (i + 0.5) / count * (closes - opens), lens))
    return found


def focus_distance(camera: bpy.types.Object) -> float:
    """Metres along the camera's axis that are sharp; at least a millimetre."""
    chosen = camera.data.dof.focus_object
    if chosen is None:
        return max(camera.data.dof.focus_distance, 1e-3)
    bone = chosen.pose.bones.get(camera.data.dof.focus_subtarget) if chosen.pose is not None else None
    place = chosen.matrix_world @ bone.matrix.translation if bone is not None else chosen.matrix_world.translation
    away = place - camera.matrix_world.translation
    return max(-away.dot(camera.matrix_world.to_3x3().col[2].normalized()), 1e-3)


class Mean:
    """Pictures one after the other: colours and masks are averaged (premultiplied), depth is the closest, the normal
    that of most coverage, limbs those of the first picture."""

    def __init__(self, count: int) -> None:
        self._count = count
        self._sum: Picture | None = None

    def add(self, picture: Picture) -> None:
        if self._count == 1:
            self._sum = picture
            return
        covered = picture.rgba[..., 3]
        depth = np.where(covered > 0, picture.depth, np.float32(EMPTY_DEPTH))
        picture = Picture(picture.rgba, depth, picture.normal * covered[..., None], picture.masks, picture.limb)
        if self._sum is not None:
            masks = tuple(a + b for a, b in zip(self._sum.masks, picture.masks))
            depth = np.minimum(self._sum.depth, picture.depth)
            normal, limb = self._sum.normal + picture.normal, self._sum.limb
            picture = Picture(self._sum.rgba + picture.rgba, depth, normal, masks, limb)
        self._sum = picture

    def picture(self) -> Picture:
        """The mean of all `count` pictures."""
        assert self._sum is not None, "a mean of no pictures"
        if self._count == 1:
            return self._sum
        share, normal = np.float32(1 / self._count), self._sum.normal
        length = np.linalg.norm(normal, axis=-1, keepdims=True)
        normal = np.divide(normal, length, out=np.zeros_like(normal), where=length > 1e-6)
        masks = tuple(mask * share for mask in self._sum.masks)
        return Picture(self._sum.rgba * share, self._sum.depth, normal, masks, self._sum.limb)
