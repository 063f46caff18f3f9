"""From the source's mesh, rigs and targets to a body on 55 joints."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .parts import HELPERS, PARTS
from .people import ShapeSpace, sample_people, shape_space
from .regressor import fit_regressor
from .skeleton import DefaultRig
from .slots import vertex_order
from .source import Source
from .weights import skinning_weights


@dataclass(frozen=True)
class Assembly:
    """The body before it is packed; V vertices of the body, H of the helper hulls, Q and R quads."""

    space: ShapeSpace  # its V in the final order
    quads: np.ndarray  # [Q, 4]
    part: np.ndarray  # [Q] index into PARTS
    uv: np.ndarray  # [T, 2]
    quad_uv: np.ndarray  # [Q, 4]
    weights: np.ndarray  # [V, 55]
    regressor: np.ndarray  # [55, V]
    expressions: dict[str, np.ndarray]  # name -> [V, 3] metres
    helper_quads: np.ndarray  # [R, 4]
    helper_part: np.ndarray  # [H] index into HELPERS
    helper_uv: np.ndarray  # [S, 2]
    helper_quad_uv: np.ndarray  # [R, 4]
    helper_weights: np.ndarray  # [H, 55]


def assemble(source: Source) -> Assembly:
    """Takes about half a minute."""
    mesh, rig = source.mesh, DefaultRig(source)
    body = np.concatenate([mesh.group(name) for name in PARTS])
    helpers = np.concatenate([mesh.group(name) for name in HELPERS])
    all_weights = skinning_weights(source, rig)
    weights = all_weights[body]
    people = sample_people(source, rig)
    space = shape_space(people)
    regressor = fit_regressor(people, space.template, weights)

    new_index = np.full(len(mesh.vertices), -1)
    new_index[body] = np.arange(len(body))
    order = vertex_order(source, rig, people, space.template, weights, new_index)
    new_index[body] = np.argsort(order)
    space = ShapeSpace(
        space.template[order],
        space.shapedirs[:, order],
        space.helper_template,
        space.helper_shapedirs,
        space.named,
    )
    quads = new_index[np.concatenate([mesh.quads[name] for name in PARTS])]
    quad_uv = np.concatenate([mesh.quad_uv[name] for name in PARTS])
    quads, quad_uv = _shorter_diagonals(space.template, quads, quad_uv)
    used_uv, quad_uv = _renumbered(quad_uv)

    helper_index = np.full(len(mesh.vertices), -1)
    helper_index[helpers] = np.arange(len(helpers))
    helper_uv, helper_quad_uv = _renumbered(np.concatenate([mesh.quad_uv[name] for name in HELPERS]))
    return Assembly(
        space=space,
        quads=quads,
        part=np.concatenate([np.full(len(mesh.quads[name]), i) for i, name in enumerate(PARTS)]),
        uv=mesh.uv[used_uv],
        quad_uv=quad_uv,
        weights=weights[order],
        regressor=regressor[:, order],
        expressions={name: offsets[body][order] * 0.1 for name, offsets in source.face_units().items()},
        helper_quads=helper_index[np.concatenate([mesh.quads[name] for name in HELPERS])],
        helper_part=np.concatenate([np.full(len(mesh.group(name)), i) for i, name in enumerate(HELPERS)]),
        helper_uv=mesh.uv[helper_uv],
        helper_quad_uv=helper_quad_uv,
        helper_weights=all_weights[helpers],
    )


def _shorter_diagonals(points: np.ndarray, quads: np.ndarray, quad_uv: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Turns quads so that corners 0 and 2 are the nearer pair: readers split them there."""
    corners = points[quads]
    first = np.linalg.norm(corners[:, 0] - corners[:, 2], axis=1)
    turn = np.linalg.norm(corners[:, 1] - corners[:, 3], axis=1) < first
    quads, quad_uv = quads.copy(), quad_uv.copy()
    quads[turn], quad_uv[turn] = np.roll(quads[turn], -1, 1), np.roll(quad_uv[turn], -1, 1)
    return quads, quad_uv


def _renumbered(indices: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The used numbers, ascending, and the indices into them."""
    used, inverse = np.unique(indices, return_inverse=True)
    return used, inverse.reshape(indices.shape)
