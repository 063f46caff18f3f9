"""Which part of a ray is looked at, and what it adds up to (Neural Actor, section 4; the released sampler)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

REACH = 0.06  # metres around a vertex
SAMPLES = 64
_SPHERE = 1.88  # of the distance from the middle of the joints to the farthest
_CHUNK = 1 << 22  # ray-vertex pairs at a time
EMPTY = 5.0  # metres: the distance that the released code gives to the background


@dataclass(frozen=True)
class Pixels:
    """colour: [R, 3] over white, -1 to 1. missed: [R] light that passes. distance: [R] metres along the ray."""

    colour: Tensor
    missed: Tensor
    distance: Tensor

    @classmethod
    def joined(cls, parts: Sequence[Pixels]) -> Pixels:
        """The rays of all parts."""
        return cls(*(torch.cat([getattr(part, name) for part in parts]) for name in ("colour", "missed", "distance")))


def near_far(
    origins: Tensor, directions: Tensor, vertices: Tensor, joints: Tensor, reach: float = REACH
) -> tuple[Tensor, Tensor, Tensor]:
    """The one interval of each ray that passes within `reach` of posed vertices: hit [R] bool, near and far [R] metres.

    origins, directions (unit): [R, 3]; vertices [V, 3], joints [J, 3]: world. Vertices behind the camera do not count
    (in the released code they do).
    """
    centre = joints.mean(0)
    radius = _SPHERE * (joints - centre).norm(dim=1).amax()
    offset = centre - origins
    along = (offset * directions).sum(1)
    hit = (offset * offset).sum(1) - along * along < radius * radius
    near, far = torch.full_like(along, torch.inf), torch.zeros_like(along)
    for part in torch.nonzero(hit).squeeze(1).split(max(1, _CHUNK // len(vertices))):
        towards = vertices[None] - origins[part, None]  # [P, V, 3]
        depth = (towards * directions[part, None]).sum(2)
        gap2 = reach * reach - ((towards * towards).sum(2) - depth * depth)
        touched = (gap2 > 0) & (depth > 0)
        half = gap2.clamp(min=0).sqrt()
        near[part] = torch.where(touched, depth - half, torch.inf).amin(1)
        far[part] = torch.where(touched, depth + half, 0).amax(1)
    return hit & torch.isfinite(near), near, far


def sample(near: Tensor, far: Tensor, noise: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """65 samples in each interval: distance and length of the step, both [R, 65], metres.

    64 places z_k = near + (k + n_k) / 64 (far - near) cut the interval; samples lie in the middle of the pieces.
    noise: [R, 64] in (0, 1), 0.5 if None.
    """
    slots = torch.arange(SAMPLES).to(near) + (0.5 if noise is None else noise)
    cuts = near[:, None] + slots / SAMPLES * (far - near)[:, None]
    edges = torch.cat([near[:, None], cuts, far[:, None]], 1)
    return (edges[:, 1:] + edges[:, :-1]) / 2, edges[:, 1:] - edges[:, :-1]


def composite(density: Tensor, colour: Tensor, distance: Tensor, step: Tensor) -> Pixels:
    """w_i = (1 - exp(-s_i d_i)) exp(-sum_{k<i} s_k d_k) with s = max(density, 0), over white.

    density, distance, step: [R, S]; colour: [R, S, 3].
    """
    depth = torch.relu(density) * step
    weight = -torch.expm1(-depth) * torch.exp(depth - torch.cumsum(depth, 1))
    missed = 1 - weight.sum(1)
    white = missed[:, None]
    return Pixels((weight[..., None] * colour).sum(1) + white, missed, (weight * distance).sum(1) + EMPTY * missed)
