"""Skinning weights of the body and its helper hulls on 55 joints."""

from __future__ import annotations

import numpy as np
from scipy import sparse

from avatar_core.body.joints import SMPLX_JOINTS

from .parts import HELPERS, PARTS
from .skeleton import DefaultRig, default_weights, game_weights
from .source import Source

_RIGID = {
    "helper-l-eye": "left_eye",
    "helper-r-eye": "right_eye",
    "helper-upper-teeth": "head",
    "helper-lower-teeth": "jaw",
    "helper-tongue": "jaw",
}
_SMOOTHED = (0, 1, 2, 3, 4, 5, 6, 9, 12, 13, 14, 16, 17, 18, 19)  # torso, limbs; not hands, feet and face
_SMOOTH_STEPS = 8
_INFLUENCES = 6
_LEAST = 2e-3


def skinning_weights(source: Source, rig: DefaultRig) -> np.ndarray:
    """[V, 55] for all vertices of the base mesh; rows sum to 1, at most six joints each."""
    mesh = source.mesh
    weights = game_weights(source)
    helpers = np.concatenate([mesh.group(name) for name in HELPERS])
    weights[helpers] = default_weights(rig)[helpers]
    head, jaw = SMPLX_JOINTS.index("head"), SMPLX_JOINTS.index("jaw")
    moved = np.minimum(rig.weights[:, rig.below("jaw")].sum(1), weights[:, head])
    weights[:, head] -= moved
    weights[:, jaw] += moved
    for name, joint in _RIGID.items():
        weights[mesh.group(name)] = np.eye(len(SMPLX_JOINTS))[SMPLX_JOINTS.index(joint)]
    weights /= weights.sum(1, keepdims=True)
    quads = np.concatenate([mesh.quads[name] for name in PARTS])
    return _sparsened(_smoothed(weights, quads))


def neighbour_average(quads: np.ndarray, count: int) -> sparse.csr_matrix:
    """[count, count] matrix that averages a vertex's neighbours on a quad mesh."""
    edges = np.concatenate([quads[:, [k, (k + 1) % 4]] for k in range(4)])
    edges = np.concatenate([edges, edges[:, ::-1]])
    matrix = sparse.coo_matrix((np.ones(len(edges)), edges.T), (count, count)).tocsr()
    matrix.data[:] = 1
    return sparse.diags(1 / np.maximum(np.asarray(matrix.sum(1)).ravel(), 1)) @ matrix


def _smoothed(weights: np.ndarray, quads: np.ndarray) -> np.ndarray:
    average = neighbour_average(quads, len(weights))
    share = 0.5 * weights[:, list(_SMOOTHED)].sum(1, keepdims=True).clip(0, 1)
    share[~np.isin(np.arange(len(weights)), quads)] = 0
    for _ in range(_SMOOTH_STEPS):
        weights = (1 - share) * weights + share * (average @ weights)
    return weights / weights.sum(1, keepdims=True)


def _sparsened(weights: np.ndarray) -> np.ndarray:
    strongest = np.argsort(-weights, 1)[:, :_INFLUENCES]
    kept = np.zeros_like(weights)
    np.put_along_axis(kept, strongest, np.take_along_axis(weights, strongest, 1), 1)
    kept[kept < _LEAST] = 0
    return kept / kept.sum(1, keepdims=True)
