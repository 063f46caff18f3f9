"""The studio's own character: the free body, dressed. An ordinary rigged Blender character once it is built."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np

from avatar_core.body import Body

from .body_texture import body_texture
from .clothes import Part, make_clothes
from .template import read_template_parts


@dataclass(frozen=True)
class Character:
    """A body and the clothes on it; `skin` is the body's own texture."""

    body: Body
    skin: np.ndarray  # [S, S, 3] float32, display sRGB
    clothes: tuple[Part, ...]


@cache
def default_character(skin_size: int = 1024) -> Character:
    """Striped jumper with an emblem, trousers, sneakers, short hair. skin_size: texels a side of the skin."""
    template = read_template_parts()
    return Character(template.body, body_texture(template, skin_size), make_clothes(template))
