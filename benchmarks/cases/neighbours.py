"""200k queries about the free body among 50k points of its surface: 8 neighbours within 2 cm, with the grid's build."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import torch
from scipy.spatial import cKDTree
from torch import Tensor

from avatar_core.body import load_body
from avatar_core.cuda.neighbours import neighbours
from benchmarks.timing import Case

_POINTS, _QUERIES = 50_000, 200_000
_RADIUS, _COUNT = 0.02, 8


def cases() -> Iterator[Case]:
    random = torch.Generator().manual_seed(0)
    points = _surface(_POINTS, random) + 0.003 * torch.randn(_POINTS, 3, generator=random)
    queries = _surface(_QUERIES, random) + 0.01 * torch.randn(_QUERIES, 3, generator=random)
    yield Case(
        "neighbours within a radius",
        "8 of 50k points for 200k queries",
        partial(neighbours, queries, points, _RADIUS, _COUNT),
        {"SciPy": partial(_tree, queries, points)},
        {"SciPy": 2.0},
        67.0,
    )


def _surface(count: int, random: torch.Generator) -> Tensor:
    body = load_body()
    corners = torch.tensor(body.vertices).float()[torch.tensor(body.faces).long()]  # [F, 3, 3]
    areas = torch.linalg.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]).norm(dim=1)
    chosen = corners[torch.multinomial(areas, count, True, generator=random)]
    weights = -torch.rand(count, 3, generator=random).clamp(min=1e-9).log()  # uniform once they add up to one
    return (chosen * (weights / weights.sum(1, keepdim=True))[..., None]).sum(1)


def _tree(queries: Tensor, points: Tensor) -> None:
    cKDTree(points.numpy()).query(queries.numpy(), _COUNT, distance_upper_bound=_RADIUS, workers=2)
