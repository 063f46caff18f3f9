"""Sparse Adam is torch's Adam on touched rows, leaves other rows alone, and its kernels are its reference."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from avatar_core.cuda.hashgrid import blend_tables
from avatar_core.cuda.loader import library
from avatar_core.cuda.sparse_adam import SparseAdam, sparse_adam, sparse_adam_reference

SETTINGS = (1e-2, (0.9, 0.99), 1e-15)
native = pytest.mark.skipif(library() is None, reason="no compiler was found: only the reference exists here")


def random(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def sparse(*shape: int, seed: int) -> Tensor:
    """Most rows are 0."""
    return random(*shape, seed=seed) * (random(*shape[:-1], 1, seed=seed + 1) > 1)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_it_is_adam_when_all_rows_are_touched(dtype: torch.dtype) -> None:
    ours, theirs = (torch.nn.Parameter(random(300, 4).to(dtype)) for _ in range(2))
    one, two = SparseAdam([ours], 1e-2, (0.9, 0.99), 1e-15), torch.optim.Adam([theirs], 1e-2, (0.9, 0.99), 1e-15)
    for step in range(5):
        ours.grad = theirs.grad = random(300, 4, seed=step).to(dtype)
        one.step()
        two.step()
    torch.testing.assert_close(ours, theirs)


@native
@pytest.mark.parametrize(
    "tables, rows, features, blends", [(1, 1, 1, 1), (3, 700, 2, 1), (5, 5000, 4, 3), (2, 9, 8, 2)]
)
def test_the_kernel_is_the_reference(tables: int, rows: int, features: int, blends: int) -> None:
    values = random(tables, rows, features)
    moments = [random(tables, rows, features, seed=3), random(tables, rows, features, seed=4).abs()]
    factors = [(sparse(tables, 1, seed=9 + b)[:, 0], sparse(rows, features, seed=20 + b)) for b in range(blends)]
    one, two = ([tensor.clone() for tensor in (values, *moments)] for _ in range(2))
    sparse_adam(*one, factors, 3, *SETTINGS)
    for k in range(tables):
        grad = sum(coefficients[k] * grad for coefficients, grad in factors)
        sparse_adam_reference(*(tensor[k] for tensor in two), grad, 3, *SETTINGS)
    for a, b in zip(one, two):
        torch.testing.assert_close(a, b)


def test_untouched_rows_stay_and_nan_stays_in_its_row() -> None:
    table = torch.nn.Parameter(random(100, 2))
    before = table.detach().clone()
    optimiser = SparseAdam([table])
    table.grad = torch.ones_like(table)
    optimiser.step()
    assert (table != before).all()
    before = table.detach().clone()
    table.grad = torch.zeros_like(table)
    table.grad[7, 0], table.grad[50, 1] = 1, float("nan")
    optimiser.step()
    changed = (table != before).any(1).nonzero()[:, 0].tolist()
    assert changed == [7, 50] and table.isfinite().all(1).sum() == 99


def test_factors_do_what_the_whole_gradient_does() -> None:
    whole, factored = (torch.nn.Parameter(random(6, 50, 4)) for _ in range(2))
    recorded: list[tuple[Tensor, Tensor]] = []
    one, two = SparseAdam([whole]), SparseAdam([factored], factors={factored: recorded})
    for step in range(3):
        coefficients, weight = sparse(6, 1, seed=step)[:, 0], sparse(50, 4, seed=30 + step)
        one.zero_grad()
        (blend_tables(whole, coefficients) * weight).sum().backward()
        (blend_tables(factored, coefficients, recorded) * weight).sum().backward()
        assert factored.grad is None and len(recorded) == 1
        one.step()
        two.step()
        assert not recorded
    torch.testing.assert_close(whole, factored)


def test_its_state_can_be_saved() -> None:
    one, two = (torch.nn.Parameter(random(20, 2)) for _ in range(2))
    first, second = SparseAdam([one]), SparseAdam([two])
    one.grad = two.grad = random(20, 2, seed=1)
    first.step()
    second.step()
    third = SparseAdam([two])
    third.load_state_dict(second.state_dict())
    first.step()
    third.step()
    torch.testing.assert_close(one, two)


@pytest.mark.parametrize(
    "change, words",
    [
        (lambda t, c, g: (t[0], c, g), "tables and moments"),
        (lambda t, c, g: (t.transpose(1, 2), c, g), "contiguous"),
        (lambda t, c, g: (t, c[:1], g), "coefficients"),
        (lambda t, c, g: (t, c, g[:2]), "gradients"),
        (lambda t, c, g: (t, c, g.double()), "must be torch.float32"),
    ],
)
def test_wrong_arguments_are_said(change, words: str) -> None:
    tables, coefficients, grad = change(random(3, 8, 2), random(3), random(8, 2))
    with pytest.raises(ValueError, match=words):
        sparse_adam(tables, tables.clone(), torch.zeros_like(tables), [(coefficients, grad)], 1, *SETTINGS)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
def test_cuda_is_native() -> None:
    data = random(3, 500, 4), random(3, 500, 4, seed=1), random(3, 500, 4, seed=2).abs()
    factors = [(random(3), sparse(500, 4, seed=5))]
    one, two = [tensor.clone() for tensor in data], [tensor.cuda() for tensor in data]
    sparse_adam(*one, factors, 2, *SETTINGS)
    sparse_adam(*two, [(c.cuda(), g.cuda()) for c, g in factors], 2, *SETTINGS)
    for a, b in zip(one, two):
        torch.testing.assert_close(a, b.cpu())
