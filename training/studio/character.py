"""The studio's own character: the free body, dressed. An ordinary rigged Blender character once it is built.

Clothes are made of the helper geometry that comes with the body: they carry skinning weights, procedural
textures, and corrective shapes ("wrinkles") whose strength follows the bend of a joint.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from importlib import resources
from pathlib import Path

import numpy as np

from avatar_core.body import Body, load_body
from avatar_core.body.arrays import read_npz
from avatar_core.body.template import fold_weights, split_quads

from .surface import Surface

EYES, UPPER_TEETH, LOWER_TEETH, TONGUE = (1, 2), 3, 4, 5  # numbers of the template's parts; 0 is the skin
TIGHTS = 0  # number of the helper hull that encloses torso, arms and legs


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


@dataclass(frozen=True)
class Template:
    """What the character is cut from: the body as quads, and the helper hulls around it."""

    body: Body
    skin: Surface
    skin_part: np.ndarray  # [Q] number of the part of each quad
    hull: Surface
    hull_part: np.ndarray  # [Q]
    weights55: np.ndarray  # [V, 55] of the body, with jaw, eyes and fingers apart
    uv_labels: Path


@dataclass(frozen=True)
class Character:
    """A body and the clothes on it; `skin` is the body's own texture."""

    body: Body
    skin: np.ndarray  # [S, S, 3] float32, display sRGB
    clothes: tuple[Part, ...]


@cache
def default_character(skin_size: int = 1024) -> Character:
    """Striped jumper with an emblem, trousers, sneakers, short hair. skin_size: texels a side of the skin."""
    from .body_texture import body_texture
    from .clothes import make_clothes

    template = read_template_parts()
    return Character(template.body, body_texture(template, skin_size), make_clothes(template))


def read_template_parts() -> Template:
    folder = Path(str(resources.files("blend_templates")))
    data = read_npz(folder / "body.npz")
    body, uv = load_body(), data["uv"].astype(np.float64) / 65535
    hull_uv = data["h_uv"].astype(np.float64) / 65535
    quads, hull_quads = data["quads"].astype(np.int64), data["h_quads"].astype(np.int64)
    weights55 = _dense(data["w_idx"], data["w_val"])
    hull_weights = fold_weights(_dense(data["h_w_idx"], data["h_w_val"]))
    return Template(
        body=body,
        skin=Surface(data["v_template"].astype(np.float64), quads, body.weights, uv[data["quv"]]),
        skin_part=data["part"],
        hull=Surface(data["h_template"].astype(np.float64), hull_quads, hull_weights, hull_uv[data["h_quv"]]),
        hull_part=data["h_part"][hull_quads[:, 0]],
        weights55=weights55,
        uv_labels=folder / "uv_labels.png",
    )


def triangles(quads: np.ndarray, corners: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Quads [Q, 4] and values at their corners [Q, 4, K] -> triangles [2Q, 3] and [2Q, 3, K]."""
    order = np.arange(len(quads) * 4).reshape(-1, 4)
    flat = corners.reshape(-1, corners.shape[2])
    return split_quads(quads), flat[split_quads(order)]


def _dense(index: np.ndarray, value: np.ndarray) -> np.ndarray:
    weights = np.zeros((len(index), 55), np.float32)
    np.put_along_axis(weights, index.astype(np.int64), value.astype(np.float32), 1)
    return weights / weights.sum(1, keepdims=True)
