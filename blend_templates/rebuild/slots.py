"""Vertex order: the vertices that smplx picks as extra joints get the numbers that smplx expects.

`smplx` reads nose, eyes, ears, finger tips, toes and heels from fixed vertex numbers. Swapping our vertices
into those numbers makes its default tables right for our body too, whether it is loaded as SMPL, SMPL-H or
SMPL-X.
"""

from __future__ import annotations

import numpy as np

from avatar_core.body.joints import SMPLX_JOINTS

from .people import People
from .skeleton import DefaultRig
from .source import Source

_FAMILIES = ("smplh", "smplx")


def vertex_order(
    source: Source,
    rig: DefaultRig,
    people: People,
    template: np.ndarray,
    weights: np.ndarray,
    new_index: np.ndarray,
) -> np.ndarray:
    """[V] the old number of each new vertex. new_index: base mesh vertex -> row of `template`, or -1."""
    from smplx.vertex_ids import vertex_ids  # of its files only these numbers are used

    candidates = _candidates(source, rig, people, template, weights, new_index)
    chosen: dict[int, int] = {}
    for family in _FAMILIES:
        for name, slot in vertex_ids[family].items():
            chosen[slot] = next(int(v) for v in candidates[name] if int(v) not in chosen.values())
    order = np.full(len(template), -1)
    for slot, vertex in chosen.items():
        order[slot] = vertex
    stay = (order < 0) & ~np.isin(np.arange(len(order)), list(chosen.values()))
    order[stay] = np.arange(len(order))[stay]
    order[order < 0] = np.setdiff1d(np.arange(len(order)), order)
    return order


def _candidates(
    source: Source,
    rig: DefaultRig,
    people: People,
    template: np.ndarray,
    weights: np.ndarray,
    new_index: np.ndarray,
) -> dict[str, np.ndarray]:
    """Name -> vertices, the best first."""
    skin = np.arange(len(source.mesh.group("body")))
    found = {}
    for side, group in (("l", "helper-l-eye"), ("r", "helper-r-eye")):
        eye = new_index[source.mesh.group(group)]
        found[f"{side}eye"] = eye[np.argsort(-template[eye, 2])]
    eye_height = template[found["leye"], 1].mean()
    head = skin[weights[skin, SMPLX_JOINTS.index("head")] > 0.6]
    x, y = template[head, 0], template[head, 1]
    face = head[(np.abs(x) < 0.012) & (y < eye_height - 0.015) & (y > eye_height - 0.07)]
    found["nose"] = face[np.argsort(-template[face, 2])]
    level = head[(y < eye_height + 0.03) & (y > eye_height - 0.05)]
    for side, name, sign in (("l", "left", 1), ("r", "right", -1)):
        found[f"{side}ear"] = level[np.argsort(-sign * template[level, 0])]
        for finger in ("index", "middle", "pinky", "ring", "thumb"):
            joint = SMPLX_JOINTS.index(f"{name}_{finger}3")
            tip = skin[weights[skin, joint] > 0.5]
            direction = people.joints[0, joint] - people.joints[0, joint - 1]
            found[side + finger] = tip[np.argsort(-template[tip] @ direction)]
        found.update(_foot(rig, template, weights, new_index, skin, name))
    return found


def _foot(
    rig: DefaultRig,
    template: np.ndarray,
    weights: np.ndarray,
    new_index: np.ndarray,
    skin: np.ndarray,
    side: str,
) -> dict[str, np.ndarray]:
    ankle, ball = (SMPLX_JOINTS.index(f"{side}_{joint}") for joint in ("ankle", "foot"))
    foot = skin[weights[skin, ankle] + weights[skin, ball] > 0.6]
    sole = foot[template[foot, 1] < template[foot, 1].min() + 0.05]
    letter = side[0].upper()
    found = {f"{letter}Heel": sole[np.argsort(template[sole, 2])]}
    for name, bone, least in (("BigToe", "toe1-2", 0.5), ("SmallToe", "toe5-3", 0.4)):
        toe = new_index[np.flatnonzero(rig.weights[: len(skin), rig.index[f"{bone}.{letter}"]] > least)]
        found[letter + name] = toe[np.argsort(-template[toe, 2])]
    return found
