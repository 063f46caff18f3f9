"""What the studio's characters are cut from: the free body and the helper hulls that come with it."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import resources
from pathlib import Path

import numpy as np

from avatar_core.body import Body, load_body
from avatar_core.body.arrays import read_npz
from avatar_core.body.template import fold_weights

from .surface import Surface

EYES, UPPER_TEETH, LOWER_TEETH, TONGUE = (1, 2), 3, 4, 5  # numbers of the template's parts; 0 is the skin
TIGHTS = 0  # number of the helper hull that encloses torso, arms and legs


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


def read_template_parts() -> Template:
    """Of the free body that comes with the package."""
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


def _dense(index: np.ndarray, value: np.ndarray) -> np.ndarray:
    weights = np.zeros((len(index), 55), np.float32)
    np.put_along_axis(weights, index.astype(np.int64), value.astype(np.float32), 1)
    return weights / weights.sum(1, keepdims=True)
