"""The native hash grid is the reference, in values and gradients."""

from __future__ import annotations

import pytest
import torch

from avatar_core.cuda.hashgrid import (
    HashGridSpec,
    blend_tables,
    hash_grid,
    hash_grid_blended,
    hash_grid_reference,
)
from avatar_core.cuda.loader import library

SPECS = [HashGridSpec(1, 2, 10, 4, 1.0), HashGridSpec(5, 2, 8, 4, 1.6), HashGridSpec(14, 2, 15, 16, 1.38)]
SPECS += [HashGridSpec(3, 1, 9, 4, 1.7), HashGridSpec(4, 4, 10, 5, 2.0), HashGridSpec(2, 8, 7, 3, 3.0)]
HALVES = [torch.float16, torch.bfloat16]
_RANGES = ((1, 8), (4, 14), (2, 20), (1, 700))  # levels, log2 of rows, coarsest side, points
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
    assert one.shape == (count, spec.levels * spec.features)
    torch.testing.assert_close(one, two, atol=2e-4, rtol=1e-4)
    weight = torch.randn_like(one)
    first = torch.autograd.grad((one * weight).sum(), (points, table))
    second = torch.autograd.grad((two * weight).sum(), (points, table))
    for a, b in zip(first, second):
        assert (a - b).abs().max() <= 1e-4 * b.abs().max().clamp(min=1) if b.numel() else True


@native
def test_random_grids_agree() -> None:
    generator = torch.Generator().manual_seed(3)
    for _ in range(30):
        levels, size, base, count = (int(torch.randint(low, high, (), generator=generator)) for low, high in _RANGES)
        growth = 1 + 1.5 * float(torch.rand((), generator=generator))
        spec = HashGridSpec(levels, 2 ** (count % 4), size, base, growth)
        points, table = data(spec, count)
        one, two = hash_grid(points, table, spec), hash_grid_reference(points, table, spec)
        torch.testing.assert_close(one, two, atol=1e-3, rtol=1e-3)  # a cell's wall may fall between two roundings


@native
@pytest.mark.parametrize("spec", SPECS[2:])
@pytest.mark.parametrize("dtype", HALVES)
def test_half_tables_agree(spec: HashGridSpec, dtype: torch.dtype) -> None:
    points, table = data(spec, 333)
    table = table.to(dtype).requires_grad_()
    points.requires_grad_()
    one, two = hash_grid(points, table, spec), hash_grid_reference(points, table, spec)
    assert one.dtype == two.dtype == torch.float32
    torch.testing.assert_close(one, two, atol=2e-4, rtol=1e-4)
    first = torch.autograd.grad(one.square().sum(), (points, table))
    second = torch.autograd.grad(two.square().sum(), (points, table))
    for a, b, bound in zip(first, second, (1e-4, 1e-2)):
        assert a.dtype == b.dtype
        assert (a - b).abs().max() <= bound * b.abs().max()


@native
@pytest.mark.parametrize("dtype", HALVES)
@pytest.mark.parametrize("features", [1, 2, 4, 8])
def test_every_half_is_read_exactly(dtype: torch.dtype, features: int) -> None:
    """A grid of one cell's size: the corner's features are the table's row, for all 65,536 numbers, NaN too."""
    spec = HashGridSpec(1, features, 17, 2, 1.0)
    every = torch.arange(65536, dtype=torch.int32).to(torch.int16).view(dtype)
    points = torch.full((1, 3), 0.5)  # p = 1: a grid point, row 13 of the 27
    for values in every.view(-1, features)[:: 1 if features == 8 else 37]:
        table = torch.zeros(spec.parameters, features, dtype=dtype)
        table[13] = values
        one, two = hash_grid(points, table, spec)[0], values.float()
        assert torch.equal(one.isnan(), two.isnan()) and torch.equal(one.nan_to_num(), two.nan_to_num())


@native
def test_slices_of_many_points_add_up() -> None:
    spec = SPECS[3]
    points, table = data(spec, 20000)
    one, two = (table.clone().requires_grad_() for _ in range(2))
    hash_grid(points, one, spec).square().sum().backward()
    hash_grid_reference(points, two, spec).square().sum().backward()
    torch.testing.assert_close(one.grad, two.grad, atol=1e-2, rtol=1e-4)


@pytest.mark.parametrize("count", [1, 5, 3000])  # few points are looked up in each table, many in the mix
def test_blended_tables(count: int) -> None:
    spec = SPECS[4]
    points = data(spec, count)[0]
    tables = torch.stack([data(spec, count + k)[1] for k in range(5)]).requires_grad_()
    coefficients = torch.tensor([1.0, 0.0, -0.5, 0.0, 2.0], requires_grad=True)
    one = hash_grid_blended(points, tables, coefficients, spec)
    two = hash_grid_reference(points, torch.einsum("k,krf->rf", coefficients, tables), spec)
    torch.testing.assert_close(one, two, atol=1e-4, rtol=1e-4)
    first = torch.autograd.grad(one.square().sum(), (tables, coefficients))
    second = torch.autograd.grad(two.square().sum(), (tables, coefficients))
    for a, b in zip(first, second):
        assert (a - b).abs().max() <= 1e-4 * b.abs().max()
    fixed = hash_grid_blended(points, tables, coefficients.detach(), spec)
    torch.testing.assert_close(fixed, two, atol=1e-4, rtol=1e-4)
    assert not hash_grid_blended(points, tables, torch.zeros(5), spec).any()


def test_blending_has_the_right_gradient() -> None:
    tables, coefficients = torch.randn(3, 4, 2).double(), torch.tensor([0.5, 0.0, -1.0]).double()
    assert torch.autograd.gradcheck(blend_tables, (tables.requires_grad_(), coefficients.requires_grad_()))


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
@pytest.mark.parametrize("spec", SPECS)
@pytest.mark.parametrize("dtype", [torch.float32, *HALVES])
def test_cuda_is_native(spec: HashGridSpec, dtype: torch.dtype) -> None:
    results = []
    for device in ("cpu", "cuda"):
        points, table = data(spec, 5000)
        p, t = points.to(device).requires_grad_(), table.to(device, dtype).requires_grad_()
        out = hash_grid(p, t, spec)
        out.square().sum().backward()
        results.append([out.detach().cpu(), p.grad.cpu(), t.grad.float().cpu()])
    for a, b, bound in zip(*results, (1e-4, 1e-3, 1e-3 if dtype == torch.float32 else 2e-2)):
        assert (a - b).abs().max() <= bound * a.abs().max()


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
    wild, table = wild.requires_grad_(), table.requires_grad_()
    out = hash_grid(wild, table, spec)
    out.sum().backward()
    assert torch.isfinite(out).all() and torch.isfinite(wild.grad).all() and torch.isfinite(table.grad).all()


@pytest.mark.parametrize(
    "change, words",
    [
        (lambda p, t: (p[:, :2], t), "points must be"),
        (lambda p, t: (p, t[:-1]), "table must be"),
        (lambda p, t: (p.double(), t), "one float type"),
        (lambda p, t: (p, t.double()), "one float type"),
        (lambda p, t: (p.long(), t), "one float type"),
        (lambda p, t: (p.to("meta"), t), "one device"),
    ],
)
def test_wrong_arguments_are_said(change, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        hash_grid(*change(*data(SPECS[0], 4)), SPECS[0])


@pytest.mark.parametrize(
    "change, words",
    [
        (lambda t, c: (t[0], c), "must be .K, rows"),
        (lambda t, c: (t[:0], c[:0]), "must be .K, rows"),
        (lambda t, c: (t, c[:1]), "must be .K, rows"),
        (lambda t, c: (t, c.double()), "one float type"),
    ],
)
def test_wrong_blends_are_said(change, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        blend_tables(*change(torch.rand(3, 4, 2), torch.rand(3)))


def test_a_grid_of_three_features_is_refused() -> None:
    with pytest.raises(ValueError, match="1, 2, 4 or 8 features"):
        HashGridSpec(2, 3, 8, 4, 1.5)
