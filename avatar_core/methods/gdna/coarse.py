"""The first stage: shape codes, occupancy, skinning weights and displacement, from points inside and outside."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from ...body.joints import SMPL_PARENTS
from . import losses
from .field import Networks, Person
from .lessons import Lessons, Registered
from .posing import bake, volume
from .query import Posed, at_roots
from .search import search_voxels, with_gradients

BONE_STEPS = 150  # in which the registered body tells where limbs are; published: one of 300 epochs
_SKINNING = 10.0  # weight, per squared weight of a bone
_GRID = (10, 40, 40)  # voxels of weights from which the search starts; roots end on the networks
_SPACE = 8  # one point anywhere for so many by the surface
_SHAPED = 2048  # vertices that the displacement is asked of; published: all
_STEPS = 50  # of the search


def terms(
    networks: Networks, code: Tensor, lessons: Lessons, frame: int, points: int, bones: bool
) -> dict[str, Tensor]:
    """Weighted loss terms of one scan. code: [64] with gradients. points: by the surface. bones: see BONE_STEPS."""
    body = lessons.registered(frame)
    person = networks.sparse_person(code, body.betas)
    cloud, inside = lessons.occupancy(frame, points, points // _SPACE)
    chosen = torch.randint(len(body.canonical), (_SHAPED,))
    shaped, neutral = body.canonical[chosen], lessons.neutral[chosen]
    deformer = networks.deformer
    found = {
        "occupancy": losses.occupancy(queried(person, cloud, body), inside),
        "displacement": losses.DISPLACEMENT * losses.displacement(deformer, shaped, neutral, body.betas),
        "regular": losses.REGULAR * losses.regular(code),
    }
    if bones:
        places, targets = losses.joint_targets(lessons.joints, SMPL_PARENTS)
        found["bone weights"] = losses.BONE_WEIGHTS * losses.bone_weights(deformer, places, targets, code)
        rows = deformer.weights(neutral, code)
        found["skinning"] = _SKINNING * functional.mse_loss(rows, lessons.weights[chosen])
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
