"""The native hash grid is the reference, in values and gradients."""

from __future__ import annotations

import pytest
import torch

from avatar_core.cuda.hashgrid import HashGridSpec, hash_grid, hash_grid_reference
from avatar_core.cuda.loader import library

SPECS = [HashGridSpec(1, 2, 10, 4, 1.0), HashGridSpec(5, 2, 8, 4, 1.6), HashGridSpec(14, 2, 15, 16, 1.38)]
native = pytest.mark.skipif(library() is None, reason="no compiler was found: only the reference exists here")


def data(spec: HashGridSpec, count: int) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(count)
    points = torch.rand(count, 3, generator=generator)
    return points, torch.randn(spec.parameters, spec.features, generator=generator)


@native
@pytest.mark.parametrize("spec", SPECS)
@pytest.mark.parametrize("count", [0, 1, 63, 5000])
def test_values_and_gradients_agree(spec: HashGridSpec, count: int) -> None:
    points, table = data(spec, count)
    points = (points * 1.2 - 0.1).requires_grad_()  # some lie outside, where they are clamped
    table.requires_grad_()
    one, two = hash_grid(points, table, spec), hash_grid_reference(points, table, spec)
    assert one.shape == (count, spec.levels * 2)
    torch.testing.assert_close(one, two, atol=2e-4, rtol=1e-4)
    weight = torch.randn_like(one)
    first = torch.autograd.grad((one * weight).sum(), (points, table))
    second = torch.autograd.grad((two * weight).sum(), (points, table))
    for a, b in zip(first, second):
        assert (a - b).abs().max() <= 1e-4 * b.abs().max().clamp(min=1) if b.numel() else True


def test_the_reference_has_the_right_gradient() -> None:
    spec = HashGridSpec(3, 2, 6, 3, 1.5)
    points, table = (tensor.double().requires_grad_() for tensor in data(spec, 7))
    assert torch.autograd.gradcheck(lambda p, t: hash_grid_reference(p, t, spec), (points, table))


@native
def test_strided_and_wild_points_are_safe() -> None:
    spec = SPECS[1]
    points, table = data(spec, 100)
    wide = torch.cat([points, points], 1)
    torch.testing.assert_close(hash_grid(wide[:, 1:4], table, spec), hash_grid(wide[:, 1:4].contiguous(), table, spec))
    wild = torch.tensor([[float("nan"), 0.5, 0.5], [1e30, -1e30, 0.5], [float("inf"), 0, 0]])
    assert torch.isfinite(hash_grid(wild, table, spec)).all()


@pytest.mark.parametrize(
    "change, words",
    [
        (lambda p, t: (p[:, :2], t), "points must be"),
        (lambda p, t: (p, t[:-1]), "table must be"),
        (lambda p, t: (p.double(), t), "one float type"),
        (lambda p, t: (p.long(), t), "one float type"),
    ],
)
def test_wrong_arguments_are_said(change, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        hash_grid(*change(*data(SPECS[0], 4)), SPECS[0])
