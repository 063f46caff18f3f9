"""What the published stages minimise, term by term."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from .field import Deformer
from .query import Posed

DISPLACEMENT, BONE_WEIGHTS, BONE_OCCUPANCY, REGULAR = 10.0, 10.0, 1.0, 2e-3  # weights; published REGULAR: 1e-3, twice
BONE_POINTS = 5  # a bone


def occupancy(at: Posed, inside: Tensor) -> Tensor:
    """Binary cross-entropy over points that have a root; inside: [N] in 0, 1. The published code counts the others too,
    as a constant 1000 each where they are inside, without gradient."""
    return functional.binary_cross_entropy_with_logits(at.logits[at.found], inside[at.found])


def displacement(deformer: Deformer, shaped: Tensor, neutral: Tensor, betas: Tensor) -> Tensor:
    """Betas are taken back: shaped, neutral: canonical vertices [V, 3] with and without them."""
    return functional.mse_loss(deformer.neutral(shaped, betas), neutral)


def joint_targets(joints: Tensor, parents: Sequence[int] | np.ndarray) -> tuple[Tensor, Tensor]:
    """Points [2 J - 1, 3] and weights: each joint moves with its own bone, and then, but for the root, with its
    parent's; the two together ask for half of each."""
    count = len(joints)
    owners = torch.tensor([*range(count), *(int(parent) for parent in parents[1:])])
    return torch.cat([joints, joints[1:]]), torch.eye(count).to(joints)[owners]


def bone_weights(deformer: Deformer, points: Tensor, targets: Tensor, code: Tensor) -> Tensor:
    """points, targets: of `joint_targets`, for canonical joints without betas."""
    return functional.mse_loss(deformer.weights(points, code), targets)


def bone_points(joints: Tensor, parents: Sequence[int] | np.ndarray, generator: torch.Generator | None) -> Tensor:
    """Points [5 (J - 1), 3] on bones, which are inside of everybody."""
    along = torch.linspace(0, 1, BONE_POINTS).to(joints).expand(len(joints) - 1, -1)
    noise = torch.randn(along.shape, generator=generator).to(joints)
    share = (along + 0.1 * noise).clamp(0, 1)[..., None]
    first = joints[torch.as_tensor([int(parent) for parent in parents[1:]])][:, None]
    return (first + share * (joints[1:, None] - first)).reshape(-1, 3)


def regular(*codes: Tensor) -> Tensor:
    """Codes stay near zero."""
    return sum((code.square().mean() for code in codes), torch.zeros(()))


def normals(found: Tensor, scanned: Tensor) -> Tensor:
    """1 - cosine, of unit normals [N, 3]."""
    return (1 - (found * scanned).sum(1)).mean()
