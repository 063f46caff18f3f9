"""The neighbour search against all distances, measured one by one, and against SciPy's tree."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from avatar_core.cuda import backend
from avatar_core.cuda.neighbours import NeighbourGrid, neighbours, neighbours_reference

gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")


def by_force(queries: Tensor, points: Tensor, radius: float, count: int) -> tuple[Tensor, Tensor]:
    distance2 = (queries[:, None] - points).square().sum(-1)
    bound = torch.tensor(radius * radius, dtype=points.dtype)
    distance2 = torch.where(distance2 <= bound, distance2, torch.inf)
    distance2 = torch.cat([distance2, queries.new_full((len(queries), count), torch.inf)], 1)
    distance2, indices = distance2.sort(dim=1, stable=True)
    return indices[:, :count].masked_fill(distance2[:, :count].isinf(), -1), distance2[:, :count]


def lattice(count: int, seed: int, spread: int = 6) -> Tensor:
    """Points with whole coordinates: distances are exact, and ties are everywhere."""
    return torch.randint(-spread, spread, (count, 3), generator=torch.Generator().manual_seed(seed)).float()


@pytest.mark.parametrize("search", [neighbours, neighbours_reference])
@pytest.mark.parametrize("radius", [0.5, 1.0, 2.0, 3.0, 100.0])
@pytest.mark.parametrize(("asked", "known", "count"), [(0, 5, 3), (5, 0, 3), (1, 1, 1), (60, 400, 8), (300, 90, 13)])
def test_ties_are_broken_by_index(search, radius: float, asked: int, known: int, count: int) -> None:  # type: ignore[no-untyped-def]
    queries, points = lattice(asked, 1), lattice(known, 2)
    indices, distance2 = search(queries, points, radius, count)
    if known == 0:
        assert bool((indices == -1).all()) and bool(distance2.isinf().all())
        return
    expected, expected2 = by_force(queries, points, radius, count)
    assert indices.equal(expected) and distance2.equal(expected2)


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("count", [1, 8, 64])
def test_equals_reference(seed: int, count: int) -> None:
    random = torch.Generator().manual_seed(seed)
    points, queries = torch.randn(2000, 3, generator=random), torch.randn(500, 3, generator=random)
    radius = 0.1 * 2**seed
    indices, distance2 = neighbours(queries, points, radius, count)
    expected, expected2 = neighbours_reference(queries, points, radius, count)
    assert (indices != expected).float().mean() < 1e-3  # a rounding may swap two
    torch.testing.assert_close(distance2, expected2, rtol=1e-5, atol=1e-10)


def test_an_outlier_costs_no_memory() -> None:
    """Points far away make no cells, and are found too."""
    points = torch.cat([lattice(200, 3), torch.tensor([[1e9, -1e9, 1e9], [3e38, 0, 0], [-1e15, 1e15, 0]])])
    grid = NeighbourGrid(points, 1e-3)
    if backend().name == "native":
        assert len(grid._starts) < 10 * len(points)
    indices, _ = grid.query(points, 1)
    assert points[indices[:, 0]].equal(points)


def test_one_grid_answers_many_queries() -> None:
    points = lattice(300, 4)
    grid = NeighbourGrid(points, 2.0)
    for seed in range(3):
        queries = lattice(50, seed)
        assert grid.query(queries, 5)[0].equal(by_force(queries, points, 2.0, 5)[0])


def test_gradients() -> None:
    random = torch.Generator().manual_seed(0)
    points = torch.rand(30, 3, generator=random, dtype=torch.float64, requires_grad=True)
    queries = torch.rand(10, 3, generator=random, dtype=torch.float64, requires_grad=True)

    def near(q: Tensor, p: Tensor) -> Tensor:
        indices, distance2 = neighbours(q, p, 0.4, 4)
        return torch.where(indices < 0, 0, distance2)

    assert torch.autograd.gradcheck(near, (queries, points))
    native = [t.detach().float().requires_grad_() for t in (queries, points)]
    near(*native).sum().backward()
    near(queries, points).sum().backward()
    for ours, exact in zip(native, (queries, points), strict=True):
        assert ours.grad is not None
        torch.testing.assert_close(ours.grad.double(), exact.grad, rtol=1e-4, atol=1e-5)


def test_views() -> None:
    points, queries = torch.randn(6, 400).T[:, ::2], torch.randn(3, 40).T
    assert neighbours(queries, points, 0.7, 4)[0].equal(neighbours(queries.clone(), points.contiguous(), 0.7, 4)[0])


@pytest.mark.parametrize("seed", range(20))
def test_anything_goes(seed: int) -> None:
    """What is not finite has no neighbours; huge and equal coordinates are found."""
    random = np.random.default_rng(seed)
    values = random.normal(0, 1, (300, 3)).astype(np.float32)
    odd = np.array([np.nan, np.inf, -np.inf, 3e38, -3e38, 1e18, 1e-38, 0.0], np.float32)
    chosen = random.random((300, 3)) < 0.15
    values[chosen] = random.choice(odd, int(chosen.sum()))
    points = torch.from_numpy(values)
    indices, distance2 = neighbours(points, points, float(10.0 ** random.uniform(-12, 12)), 5)
    finite = points.isfinite().all(1)
    assert bool((indices[~finite] == -1).all())
    assert bool(finite[indices[indices >= 0]].all())
    assert bool((points[indices[finite, 0]] == points[finite]).all())
    assert bool((indices < 0).equal(distance2.isinf())) and bool(
        (distance2.diff(dim=1) >= 0).logical_or(distance2[:, 1:].isinf()).all()
    )


def test_says_what_is_wrong() -> None:
    points = lattice(5, 0)
    for arguments, text in (
        ((points, points[:, :2], 1.0, 1), r"points must be \[N, 3\]"),
        ((points[0], points, 1.0, 1), r"queries must be \[N, 3\]"),
        ((points.long(), points, 1.0, 1), "floats"),
        ((points.double(), points, 1.0, 1), "float32 as the points"),
        ((points, points, 0.0, 1), "radius"),
        ((points, points, float("nan"), 1), "radius"),
        ((points, points, 1.0, 0), "1 to 64"),
        ((points, points, 1.0, 65), "1 to 64"),
        ((points.to("meta"), points, 1.0, 1), "one device"),
    ):
        with pytest.raises(ValueError, match=text):
            neighbours(*arguments)


@gpu
@pytest.mark.gpu
def test_cuda_equals_native() -> None:
    for scale in (1.0, 0.37):
        points, queries = lattice(5000, 5, 20) * scale, lattice(700, 6, 20) * scale
        native = neighbours(queries, points, 2.5 * scale, 8)
        cuda = neighbours(queries.cuda(), points.cuda(), 2.5 * scale, 8)
        torch.testing.assert_close(cuda[1].cpu(), native[1], rtol=1e-5, atol=0)
        if scale == 1:
            assert cuda[0].cpu().equal(native[0])
