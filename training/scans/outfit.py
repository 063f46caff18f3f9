"""Clothes of many people: the studio's garments, cut shorter, made looser and dyed."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from ..studio.character import Character
from ..studio.clothes import Part
from ..studio.surface import Surface, triangles

_LOOSEST = 0.015  # metres added to a garment
_SHARE_WITHOUT = {"jumper": 0.15, "hair": 0.2}


@dataclass(frozen=True, eq=False)
class Soup:
    """All surfaces of a dressed person at rest as one set of triangles: they cross and have borders.

    vertices: [V, 3]. faces: [F, 3]. weights: [V, 24]. corner_colours: [F, 3, 3] display sRGB in [0, 1].
    parts: garments, each with the number of its first vertex.
    """

    vertices: np.ndarray
    faces: np.ndarray
    weights: np.ndarray
    corner_colours: np.ndarray
    parts: tuple[tuple[Part, int], ...]

    def folds(self, pose: np.ndarray, joint_names: tuple[str, ...]) -> np.ndarray:
        """Offsets [V, 3] of a pose [J, 3]."""
        offsets = np.zeros_like(self.vertices)
        for part, start in self.parts:
            for wrinkle in part.wrinkles:
                strength = wrinkle.strength(pose[None], joint_names)[0]
                offsets[start : start + len(wrinkle.offsets)] += strength * wrinkle.offsets
        return offsets


def dress(character: Character, rng: np.random.Generator) -> Soup:
    """The character in an outfit of its own."""
    parts = [_vary(part, rng) for part in character.clothes if rng.random() > _SHARE_WITHOUT.get(part.name, 0)]
    body = character.body
    skin = _look_up(character.skin * rng.uniform(0.6, 1.15), body.uv[body.face_uv])
    arrays = [(body.vertices, body.faces, body.weights, skin)]
    placed, start = [], len(body.vertices)
    for part in parts:
        faces, corner_uv = triangles(part.surface.quads, part.surface.corner_uv)
        colours = _look_up(part.texture, corner_uv)
        arrays.append((part.surface.vertices, faces + start, part.surface.weights, colours))
        placed.append((part, start))
        start += len(part.surface.vertices)
    vertices, faces, weights, colours = (np.concatenate(column) for column in zip(*arrays))
    return Soup(vertices.astype(np.float64), faces, weights, colours, tuple(placed))


def _vary(part: Part, rng: np.random.Generator) -> Part:
    if part.name in ("hair", "sneakers"):
        return _dyed(part, part.surface, np.ones(len(part.surface.vertices), bool), rng)
    surface, centre = part.surface, part.surface.centres()
    if part.name == "jumper":
        keep = np.abs(centre[:, 0]) < rng.choice([0.30, 0.45, 0.60])
    else:
        keep = centre[:, 1] > rng.choice([-1.05, -0.85, -0.6])
    used = np.unique(surface.quads[keep])
    looser = surface.offset(rng.uniform(0, _LOOSEST)).cut(keep)
    kept = np.zeros(len(surface.vertices), bool)
    kept[used] = True
    return _dyed(part, looser, kept, rng)


def _dyed(part: Part, surface: Surface, kept: np.ndarray, rng: np.random.Generator) -> Part:
    """kept: [V] of the part's own vertices, those that `surface` has."""
    texture = part.texture[..., rng.permutation(3)] * rng.uniform(0.5, 1.3, 3)
    wrinkles = tuple(replace(wrinkle, offsets=wrinkle.offsets[kept]) for wrinkle in part.wrinkles)
    return Part(part.name, surface, texture.clip(0, 1).astype(np.float32), wrinkles)


def _look_up(texture: np.ndarray, corner_uv: np.ndarray) -> np.ndarray:
    """Texels [F, 3, 3] at texture coordinates [F, 3, 2]."""
    height, width = texture.shape[:2]
    column = (corner_uv[..., 0] * width).astype(np.int64).clip(0, width - 1)
    row = ((1 - corner_uv[..., 1]) * height).astype(np.int64).clip(0, height - 1)
    return texture[row, column].clip(0, 1)
