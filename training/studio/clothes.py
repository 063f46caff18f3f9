"""Jumper, trousers, sneakers and hair of the default character: shape, folds and colours.

Clothes are made of the helper geometry that comes with the body: they carry skinning weights, procedural textures, and
corrective shapes ("wrinkles") whose strength follows the bend of a joint.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from .body_texture import HAIR, TROUSERS, eye_centres, hairline
from .surface import Surface, triangles
from .template import TIGHTS, Template
from .texture import bake, colour, fractal, mix, step

_SIZE = 512  # texels a side
_SIDES = (("left", 1.0), ("right", -1.0))
_Paint = Callable[[np.ndarray], np.ndarray]  # rest positions [..., 3] -> colours [..., 3]


@dataclass(frozen=True)
class Wrinkle:
    """Folds of a garment that grow with the bend of joints.

    Strength is the summed angle of `joints` in radians, about `axis` of the axis-angle vectors in the
    direction of `sign` (axis None: the whole angle), from 0 to `limit`.
    """

    name: str
    offsets: np.ndarray  # [V, 3] metres at strength 1
    joints: tuple[str, ...]
    axis: int | None = None
    sign: float = 1.0
    limit: float = 1.6

    def strength(self, pose: np.ndarray, joint_names: tuple[str, ...]) -> np.ndarray:
        """[T] from axis-angle poses [T, J, 3]."""
        turns = pose[:, [joint_names.index(joint) for joint in self.joints]]  # [T, joints, 3]
        angles = np.linalg.norm(turns, axis=2) if self.axis is None else self.sign * turns[:, :, self.axis]
        return angles.sum(1).clip(0, self.limit)


@dataclass(frozen=True)
class Part:
    """One mesh of a character, body frame at rest, metres."""

    name: str
    surface: Surface
    texture: np.ndarray  # [S, S, 3] float32, display sRGB, row 0 at v = 1
    wrinkles: tuple[Wrinkle, ...] = ()


def make_clothes(template: Template) -> tuple[Part, ...]:
    tights = template.hull.cut(template.hull_part == TIGHTS)
    return _jumper(tights), _trousers(tights), _sneakers(tights), _hair(template)


def _jumper(tights: Surface) -> Part:
    centre = tights.centres()
    x, y = np.abs(centre[:, 0]), centre[:, 1]
    shape = tights.cut((y > -0.27) & (y < 0.335) & (x < 0.60)).subdivided()
    x, y = np.abs(shape.vertices[:, 0]), shape.vertices[:, 1]
    flare = 0.010 + 0.022 * step(0.05, -0.25, y) * (x < 0.2) + 0.016 * step(0.28, 0.58, x)
    shape = shape.offset(flare).smoothed(3)
    return _part("jumper", shape, _paint_jumper, _jumper_wrinkles(shape))


def _jumper_wrinkles(shape: Surface) -> tuple[Wrinkle, ...]:
    """Folds inside the elbows and armpits, and across the waist, one set for each way to turn it."""
    p, normals = shape.vertices, shape.normals()
    x, y, z = p.T
    wobble, out = 3 * fractal(p * 9), np.abs(x)
    wrinkles = []
    for side, sign in _SIDES:
        arm = x * sign > 0.15
        elbow = np.exp(-(((out - 0.416) / 0.09) ** 2)) * arm
        armpit = np.exp(-(((out - 0.17) / 0.08) ** 2) - ((y - 0.14) / 0.13) ** 2) * arm
        folds = 0.011 * elbow * np.sin(170 * out + 25 * z * sign + wobble)
        wrinkles.append(Wrinkle(f"{side}_elbow", normals * folds[:, None], (f"{side}_elbow",)))
        folds = 0.010 * armpit * np.sin(95 * (0.8 * y + 0.9 * out) + 4 * fractal(p * 7 + 3))
        wrinkles.append(Wrinkle(f"{side}_armpit", normals * folds[:, None], (f"{side}_shoulder",), limit=1.8))
    waist, angle = step(0.12, -0.02, y) * (out < 0.2), np.arctan2(x, z)
    spine = ("spine1", "spine2", "spine3")
    for side, sign in _SIDES:
        folds = 0.012 * waist * np.sin(110 * y + sign * 14 * angle + 5 * fractal(p * 6))
        wrinkles.append(Wrinkle(f"waist_{side}", normals * folds[:, None], spine, 1, sign, 1.2))
    folds = 0.010 * waist * step(-0.05, 0.05, z) * np.sin(120 * y + 5 * fractal(p * 6 + 2))
    wrinkles.append(Wrinkle("waist_bend", normals * folds[:, None], spine, 0, 1.0, 1.2))
    return tuple(wrinkles)


def _paint_jumper(p: np.ndarray) -> np.ndarray:
    x, y, z = np.moveaxis(p, -1, 0)
    out = np.abs(x)
    image = np.where((np.sin(y * 95) > 0.15)[..., None], colour(226, 221, 208), colour(34, 70, 128))
    image = np.where(((out > 0.20) & (y > 0.05))[..., None], colour(178, 52, 44), image)
    image = np.where((out > 0.55)[..., None], colour(236, 190, 60), image)
    image = np.where((y < -0.235)[..., None], colour(34, 50, 90), image)
    radius, angle, front = np.hypot(x, y - 0.06), np.arctan2(x, y - 0.06), z > 0.02
    image = np.where(((radius < 0.075) & front)[..., None], colour(240, 196, 58), image)
    star = radius < 0.040 + 0.017 * np.cos(5 * angle)
    return _cloth(np.where((star & front)[..., None], colour(150, 30, 40), image), p)


def _trousers(tights: Surface) -> Part:
    y = tights.centres()[:, 1]
    x = np.abs(tights.centres()[:, 0])
    shape = tights.cut((y > -1.045) & (y < -0.12) & (x < 0.30)).subdivided()
    y = shape.vertices[:, 1]
    shape = shape.offset(0.004 + 0.012 * step(-0.30, -0.55, y) + 0.008 * step(-0.8, -1.05, y)).smoothed(3)
    return _part("trousers", shape, _paint_trousers, _trouser_wrinkles(shape))


def _trouser_wrinkles(shape: Surface) -> tuple[Wrinkle, ...]:
    p, normals = shape.vertices, shape.normals()
    x, y, z = p.T
    wrinkles = []
    for side, sign in _SIDES:
        leg = step(0.0, 0.03, x * sign)
        knee = np.exp(-(((y + 0.66) / 0.08) ** 2)) * leg
        folds = 0.009 * knee * np.sin(130 * y + 30 * z + 3 * fractal(p * 9))
        wrinkles.append(Wrinkle(f"{side}_knee", normals * folds[:, None], (f"{side}_knee",), 0))
        hip = np.exp(-(((y + 0.34) / 0.07) ** 2)) * leg
        folds = 0.008 * hip * np.sin(110 * y + 45 * np.abs(x) + 4 * fractal(p * 7 + 3))
        wrinkles.append(Wrinkle(f"{side}_hip", normals * folds[:, None], (f"{side}_hip",), 0, -1.0))
    return tuple(wrinkles)


def _paint_trousers(p: np.ndarray) -> np.ndarray:
    x, y, z = np.moveaxis(p, -1, 0)
    image = np.broadcast_to(TROUSERS, p.shape)
    image = mix(image, colour(236, 226, 196), (np.abs(z + 0.015) < 0.011) & (np.abs(x) > 0.12) & (y < -0.28))
    knee = (np.abs(y + 0.66) < 0.055) & (np.abs(np.abs(x) - 0.115) < 0.045) & (z > 0.0)
    image = mix(image, colour(60, 128, 120), knee)
    image = mix(image, colour(200, 150, 60), y < -1.0)
    return _cloth(image, p)


def _sneakers(tights: Surface) -> Part:
    shape = tights.cut(tights.centres()[:, 1] < -1.03).subdivided()
    return _part("sneakers", shape.offset(0.008).smoothed(2), _paint_sneakers)


def _paint_sneakers(p: np.ndarray) -> np.ndarray:
    _, y, z = np.moveaxis(p, -1, 0)
    image = colour(196, 58, 46) * (0.85 + 0.3 * fractal(p * 14))[..., None]
    laces = (np.abs(np.sin(z * 95)) < 0.25) & (z > 0.03) & (z < 0.11) & (y > -1.09)
    return mix(image, np.full(3, 0.92, np.float32), (y < -1.105) | laces)


def _hair(template: Template) -> Part:
    eyes, skin = eye_centres(template), template.skin
    centre = skin.centres()
    x, y, z = centre.T
    ears = (np.abs(x) > 0.070) & (y < eyes[0, 1] + 0.028) & (z > -0.002)
    head = template.weights55[skin.quads][:, :, 15].mean(1) > 0.5
    shape = skin.cut((template.skin_part == 0) & head & (hairline(centre, eyes) > 0) & ~ears).subdivided()
    p = shape.vertices
    angle = np.arctan2(p[:, 0], p[:, 2] - 0.02)
    locks = 0.004 * np.sin(angle * 38 + 6 * fractal(p * 30)) + 0.010 * (fractal(p * 16) - 0.5)
    top = 0.016 * step(eyes[0, 1] + 0.05, eyes[0, 1] + 0.10, p[:, 1])
    return _part("hair", shape.offset(0.010 + top + locks).smoothed(1, 0.4), _paint_hair)


def _paint_hair(p: np.ndarray) -> np.ndarray:
    return HAIR * (0.35 + 1.3 * fractal(p * np.array([190, 12, 190])))[..., None]


def _cloth(image: np.ndarray, p: np.ndarray) -> np.ndarray:
    """Uneven dye and a weave."""
    return image * (0.78 + 0.3 * fractal(p * 25) + 0.18 * fractal(p * 120, 2))[..., None]


def _part(name: str, shape: Surface, paint: _Paint, wrinkles: tuple[Wrinkle, ...] = ()) -> Part:
    """Spreads the part's island over its own texture map and paints it."""
    low, high = shape.corner_uv.min((0, 1)), shape.corner_uv.max((0, 1))
    spread = Surface(shape.vertices, shape.quads, shape.weights, (shape.corner_uv - low) / (high - low) * 0.98 + 0.01)
    _, corner_uv = triangles(spread.quads, spread.corner_uv)
    _, positions = triangles(spread.quads, spread.vertices[spread.quads])
    image = paint(bake(corner_uv, positions, _SIZE)).clip(0, 1).astype(np.float32)
    return Part(name, spread, image, wrinkles)
