"""The joint regressor: each joint a convex mix of a few vertices near it, fitted over many people."""

from __future__ import annotations

import numpy as np
from scipy.optimize import nnls

from .people import People

_PEOPLE = 120  # that take part in the fit
_SUM_WEIGHT = 30.0  # how hard the weights are held to a sum of 1, metres
_LEAST = 1e-4  # of the largest weight


def fit_regressor(people: People, template: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """[55, V], rows sum to 1, none negative. template: [V, 3]; weights: [V, 55]."""
    regressor = np.zeros(weights.T.shape)
    bodies = people.body[1 : _PEOPLE + 1]
    for j, row in enumerate(regressor):
        in_body = j < 22  # fingers and face have smaller surroundings
        distance = np.linalg.norm(template - people.joints[1:, j].mean(0), axis=1)
        near = np.argsort(distance)[: 500 if in_body else 150]
        if j > 0:
            near = near[(weights[near, j] > 0.02) | (distance[near] < (0.10 if in_body else 0.03))]
        system = bodies[:, near].transpose(0, 2, 1).reshape(-1, len(near)).astype(float)
        system = np.concatenate([system, np.full((1, len(near)), _SUM_WEIGHT)])
        wanted = np.append(people.joints[1 : _PEOPLE + 1, j].reshape(-1), _SUM_WEIGHT)
        mix = nnls(system, wanted, maxiter=20000)[0]
        mix[mix < _LEAST * mix.max()] = 0
        row[near] = mix / mix.sum()
    return regressor
