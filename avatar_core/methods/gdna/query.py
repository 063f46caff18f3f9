"""Occupancy and normals of posed points."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ...cuda.skin import blend
from .field import Person, skin_normals
from .search import NOWHERE


@dataclass(frozen=True)
class Posed:
    """Of N posed points. logits: [N], NOWHERE where there is no root. neutral: x' [N, 3]. features: [N, 229]. found:
    [N] bool, whether there is a root."""

    logits: Tensor
    neutral: Tensor
    features: Tensor
    found: Tensor


def at_roots(person: Person, places: Tensor, taken: Tensor) -> Posed:
    """The most occupied of a point's roots. taken: [N, 9] bool, the roots to look at: `Roots.distinct`, or `valid` as
    published, where up to nine copies of one root differ by rounding. places: [R, 3], those that are taken, in order;
    with gradients where they have some."""
    point, start = taken.nonzero(as_tuple=True)
    neutral = person.neutral(places)
    logits, features = person.occupancy(neutral)
    best, choice = logits.new_full(taken.shape, NOWHERE).index_put((point, start), logits).max(1)
    found = taken.any(1)
    row = torch.zeros_like(taken, dtype=torch.long).index_put((point, start), torch.arange(len(point)).to(point))
    row = row.gather(1, choice[:, None])[found, 0]
    return Posed(best, _spread(neutral[row], found), _spread(features[row], found), found)


def _spread(values: Tensor, where: Tensor) -> Tensor:
    """Rows of the points that have one; zeros elsewhere."""
    return values.new_zeros(len(where), values.shape[1]).index_put((where,), values)


def posed_normals(person: Person, at: Posed, detail: Tensor, bones: Tensor) -> Tensor:
    """Unit normals [N, 3], meaningless where nothing was found."""
    normals = person.normals(at.neutral, detail, at.features)
    return skin_normals(normals, blend(person.weights(at.neutral), bones))
