"""The body's own texture: skin, face, eyes, scalp, and dark undergarments where clothes lie."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from PIL import Image

from .surface import triangles
from .template import EYES, LOWER_TEETH, TONGUE, UPPER_TEETH, Template
from .texture import bake, colour, fractal, mix, step

HAIR = colour(62, 40, 28)
SKIN = colour(205, 150, 122)
TROUSERS = colour(58, 66, 84)
_LABELS = {"face": 1, "ear": 2, "lid": 3, "lip": 4, "nail": 5, "mouth": 7}
# Height of the hairline above the eyes (metres) by depth z from the back of the head to the forehead.
_HAIRLINE = ((-0.06, -0.01, 0.05, 0.10, 0.14), (-0.065, -0.03, 0.035, 0.055, 0.066))


class _Texels(NamedTuple):
    """Of every texel: rest position [S, S, 3], fine noise there, number of the part, shares of regions."""

    position: np.ndarray
    grain: np.ndarray
    part: np.ndarray
    head: np.ndarray
    hand: np.ndarray
    foot: np.ndarray


def hairline(points: np.ndarray, eyes: np.ndarray) -> np.ndarray:
    """Metres by which points [..., 3] lie above the hairline of a head with eyes [2, 3]."""
    return points[..., 1] - eyes[0, 1] - np.interp(points[..., 2], *_HAIRLINE)


def eye_centres(template: Template) -> np.ndarray:
    """[2, 3] left, right."""
    balls = [template.skin.vertices[template.skin.quads[template.skin_part == part]] for part in EYES]
    return np.stack([(ball.max((0, 1)) + ball.min((0, 1))) / 2 for ball in balls])


def body_texture(template: Template, size: int) -> np.ndarray:
    """[size, size, 3] float32, display sRGB."""
    texels, eyes = _bake_regions(template, size), eye_centres(template)
    labels = Image.open(template.uv_labels).resize((size, size), Image.Resampling.NEAREST)
    label = np.asarray(labels)
    image = _skin(texels, eyes, label)
    image = _eyes_and_mouth(image, texels, eyes)
    above = hairline(texels.position, eyes) + 0.014 * (texels.grain - 0.5)
    scalp = step(-0.004, 0.010, above) * (texels.head > 0.5) * (texels.part == 0) * (label != _LABELS["ear"])
    strands = fractal(texels.position * np.array([160, 25, 160]))
    image = mix(image, HAIR * (0.5 + 0.9 * strands)[..., None], scalp)
    return _covered(image, texels).clip(0, 1).astype(np.float32)


def _bake_regions(template: Template, size: int) -> _Texels:
    w = template.weights55
    regions = np.stack(
        [
            w[:, [15, 22]].sum(1),
            w[:, [20, 21]].sum(1) + w[:, 25:].sum(1),
            w[:, [7, 8, 10, 11]].sum(1),
        ],
        1,
    )
    quads = template.skin.quads
    values = np.concatenate([template.skin.vertices, regions], 1)[quads]
    part = np.broadcast_to(template.skin_part[:, None, None], (*quads.shape, 1))
    _, corner_uv = triangles(quads, template.skin.corner_uv)
    _, corner_values = triangles(quads, np.concatenate([values, part], 2))
    baked = bake(corner_uv, corner_values, size)
    head, hand, foot, part = np.moveaxis(baked[..., 3:], -1, 0)
    return _Texels(baked[..., :3], fractal(baked[..., :3] * 60 + 5), np.round(part), head, hand, foot)


def _skin(texels: _Texels, eyes: np.ndarray, label: np.ndarray) -> np.ndarray:
    p = texels.position
    coarse, fine = fractal(p * 14), texels.grain
    image = SKIN * (0.86 + 0.22 * coarse + 0.1 * fine)[..., None]
    across = ((np.abs(p[..., 0]) - 0.04) / 0.02) ** 2
    cheek = np.exp(-across - ((p[..., 1] - eyes[0, 1] + 0.04) / 0.02) ** 2) * (p[..., 2] > 0.08)
    image = mix(image, image * colour(255, 190, 180), 0.5 * cheek)
    for name, tint, share in (
        ("lip", colour(176, 84, 80), 0.75),
        ("mouth", colour(120, 40, 44), 0.9),
        ("nail", colour(232, 190, 176), 0.8),
    ):
        image = mix(image, tint * (0.85 + 0.3 * fine)[..., None], share * (label == _LABELS[name]))
    image = mix(image, image * colour(200, 150, 150), 0.6 * (label == _LABELS["lid"]))
    image = mix(image, image * colour(255, 196, 186), 0.5 * (label == _LABELS["ear"]))
    hairs = fractal(p * 200 + 9, 2)
    for eye in eyes:
        x, y = p[..., 0] - eye[0], p[..., 1] - eye[1]
        arch = 0.021 + 0.005 * np.cos((np.abs(p[..., 0]) - abs(eye[0])) / 0.02 * 1.2)
        brow = np.exp(-(((y - arch) / 0.0042) ** 4)) * (np.abs(x) < 0.021) * (p[..., 2] > 0.05)
        image = mix(image, HAIR, (brow * (texels.head > 0.5) * (0.55 + 0.6 * hairs)).clip(0, 1))
    return image


def _eyes_and_mouth(image: np.ndarray, texels: _Texels, eyes: np.ndarray) -> np.ndarray:
    p, part, fine = texels.position, texels.part, texels.grain
    for number, eye in zip(EYES, eyes):
        q = p - eye
        radius, angle = np.hypot(q[..., 0], q[..., 1]), np.arctan2(q[..., 1], q[..., 0])
        spokes = fractal(np.stack([angle * 6, radius * 300, 0 * radius], -1), 2)
        iris = colour(70, 110, 60) * (0.6 + spokes)[..., None]
        ball = mix(0.93 * (1 - 0.06 * fine)[..., None] + 0 * iris, iris, 1 - step(0.0052, 0.0058, radius))
        ball = mix(ball, np.full(3, 0.02, np.float32), 1 - step(0.0022, 0.0027, radius))
        ball = np.where(q[..., 2:] < 0, 0.93, ball)
        image = np.where((part == number)[..., None], ball, image)
    teeth = colour(236, 228, 210) * (0.9 + 0.12 * fine)[..., None]
    image = np.where(np.isin(part, (UPPER_TEETH, LOWER_TEETH))[..., None], teeth, image)
    return np.where((part == TONGUE)[..., None], colour(190, 92, 92) * (0.8 + 0.3 * fine)[..., None], image)


def _covered(image: np.ndarray, texels: _Texels) -> np.ndarray:
    """Colours under the clothes, so that nothing shines through where a garment and the skin meet."""
    p, y = texels.position, texels.position[..., 1]
    bare = (texels.head < 0.5) & (texels.hand < 0.5) & (texels.part == 0)
    legs = bare & (y < -0.16)
    torso = bare & ~legs & (np.abs(p[..., 0]) < 0.21) & (y < 0.2)
    image = mix(image, colour(120, 124, 140), torso)
    image = mix(image, 0.8 * TROUSERS, legs)
    return mix(image, colour(120, 44, 38), legs & (texels.foot > 0.35) & (y < -1.0))
