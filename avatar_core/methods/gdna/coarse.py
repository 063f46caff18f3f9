"""The first stage: shape codes, occupancy, skinning weights and displacement, from points inside and outside.

The deformer learns the registered body first, by itself: a step of that costs a twentieth of a whole one, and whole
ones find their correspondences from the beginning. Displacement is learnt from bodies of any betas, not from those of
the scans alone, of which there may be few.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from ...body.joints import SMPL_PARENTS
from . import losses
from .body import BETAS
from .field import Networks, Person
from .lessons import Lessons, Registered
from .posing import bake, volume
from .query import Posed, at_roots
from .search import search_voxels, with_gradients

BODY_STEPS = 300  # in which the deformer learns alone
BONE_STEPS = 450  # until which bones tell what is inside; published: one of 300 epochs
_SKINNING = 10.0  # weight, per squared weight of a bone
_GRID = (10, 40, 40)  # voxels of weights from which the search starts; roots end on the networks
_SPACE = 8  # one point anywhere for so many by the surface
_SHAPED = 1024  # vertices that the displacement is asked of, with a scan's betas and with random ones; published: all
_STEPS = 50  # of the search


def body_terms(networks: Networks, code: Tensor, lessons: Lessons, frame: int) -> dict[str, Tensor]:
    """Weighted loss terms of the deformer alone: the body, whose skinning and shapes are known. code: [64]."""
    body, deformer, anybody = lessons.registered(frame), networks.deformer, torch.randn(BETAS).to(code)
    chosen = torch.randint(len(body.canonical), (_SHAPED,))
    neutral, code = lessons.neutral[chosen], code.detach()  # nobody's own
    apart = [
        losses.displacement(deformer, vertices[chosen], neutral, betas)
        for betas, vertices in ((body.betas, body.canonical), (anybody, lessons.shaped(anybody)))
    ]
    places, targets = losses.joint_targets(lessons.joints, SMPL_PARENTS)
    return {
        "displacement": losses.DISPLACEMENT * torch.stack(apart).mean(),
        "skinning": _SKINNING * functional.mse_loss(deformer.weights(neutral, code), lessons.weights[chosen]),
        "bone weights": losses.BONE_WEIGHTS * losses.bone_weights(deformer, places, targets, code),
    }


def terms(
    networks: Networks, code: Tensor, lessons: Lessons, frame: int, points: int, bones: bool
) -> dict[str, Tensor]:
    """Weighted loss terms of one scan, beside `body_terms`. code: [64] with gradients. points: by the surface. bones:
    see BONE_STEPS."""
    body = lessons.registered(frame)
    person = networks.sparse_person(code, body.betas)
    cloud, inside = lessons.occupancy(frame, points, points // _SPACE)
    found = {
        "occupancy": losses.occupancy(queried(person, cloud, body), inside),
        "regular": losses.REGULAR * losses.regular(code),
    }
    if bones:
        logits, _ = person.occupancy(person.neutral(losses.bone_points(lessons.joints, SMPL_PARENTS, None)))
        found["bones"] = losses.BONE_OCCUPANCY * functional.softplus(-logits).mean()
    return found


def queried(person: Person, points: Tensor, body: Registered, transl: Tensor | None = None) -> Posed:
    """Logits of posed points [N, 3] with gradients through their roots, also of bones and of `transl` [3], which was
    taken off the points already."""
    with torch.no_grad():
        grid = volume(bake(person, body.canonical, shape=_GRID), body.bones, body.canonical)
        roots = search_voxels(points, person.weights, body.bones, grid, _STEPS)
    bones = (
        body.bones if transl is None else body.bones + functional.pad((transl - transl.detach())[:, None], (3, 0, 0, 1))
    )
    places = with_gradients(roots.points[roots.distinct], person.weights, bones)
    return at_roots(person, places, roots.distinct)
