"""Small networks by the native kernel are those of PyTorch."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import linear

from avatar_core.cuda.loader import library
from avatar_core.cuda.mlp import mlp_reference, run_mlp
from avatar_core.nn.encoding import evaluate, mlp
from avatar_core.nn.tcnn import PackedMLP

native = pytest.mark.skipif(library() is None, reason="no compiler was found: only the reference exists here")
Network = tuple[list[Tensor], list[Tensor], list[Tensor | None]]


def network(count: int, widths: list[int], parts: list[int], biased: bool = True, seed: int = 0) -> Network:
    generator = torch.Generator().manual_seed(seed)
    pairs = list(zip([sum(parts), *widths[:-1]], widths))
    weights = [torch.randn(two, one, generator=generator) / max(one, 1) ** 0.5 for one, two in pairs]
    biases = [torch.randn(two, generator=generator) if biased else None for _, two in pairs]
    return [torch.randn(count, part, generator=generator) for part in parts], weights, biases


@native
@pytest.mark.parametrize("count", [0, 1, 63, 64, 65, 3000])
@pytest.mark.parametrize(
    ("widths", "parts"),
    [([1], [1]), ([11], [3, 0, 2]), ([64, 17], [28, 8, 1]), ([64, 64, 3], [25]), ([256, 7, 256], [200, 56])],
)
@pytest.mark.parametrize("biased", [True, False])
def test_values_agree(count: int, widths: list[int], parts: list[int], biased: bool) -> None:
    arguments = network(count, widths, parts, biased, seed=count)
    one, two = run_mlp(*arguments), mlp_reference(*arguments)
    assert one.shape == (count, widths[-1])
    torch.testing.assert_close(one, two, atol=2e-5, rtol=1e-5)


@native
def test_random_shapes_agree() -> None:
    generator = torch.Generator().manual_seed(5)
    for seed in range(40):
        sizes = torch.randint(1, 80, (6,), generator=generator).tolist()
        arguments = network(sizes[0] * 3, sizes[1 : 2 + seed % 3], sizes[4:], seed=seed)
        slope = 0.1 * (seed % 4)
        torch.testing.assert_close(run_mlp(*arguments, slope), mlp_reference(*arguments, slope), atol=2e-5, rtol=1e-5)


@native
@pytest.mark.parametrize("hidden", [True, False])
@pytest.mark.parametrize("sharpness", [1.0, 100.0])
def test_softplus_networks_agree(sharpness: float, hidden: bool) -> None:
    """With PyTorch's own softplus, in double precision."""
    (x,), weights, biases = network(700, [40, 33, 9], [12], seed=3)
    found = run_mlp([x], weights, biases, sharpness=sharpness, hidden=hidden)
    expected = x.double()
    for number, (weight, bias) in enumerate(zip(weights, biases, strict=True)):
        assert bias is not None
        expected = linear(expected, weight.double(), bias.double())
        if hidden or number + 1 < len(weights):
            expected = nn.functional.softplus(expected, beta=sharpness)
    torch.testing.assert_close(found.double(), expected, atol=2e-5, rtol=1e-5)
    torch.testing.assert_close(mlp_reference([x], weights, biases, 0, sharpness, hidden), found, atol=2e-5, rtol=1e-5)
    edges = torch.tensor([0.0, -1e30, 1e30, -0.3, torch.nan, torch.inf, -torch.inf])[:, None]
    values = run_mlp([edges], [torch.eye(1)], [None], sharpness=sharpness, hidden=True)
    known = nn.functional.softplus(edges, beta=sharpness)
    torch.testing.assert_close(values, known, atol=1e-6, rtol=1e-6, equal_nan=True)


def test_gradients_of_softplus_flow() -> None:
    (x,), weights, biases = network(5, [4, 3], [2])
    tensors = [t.double().requires_grad_() for t in (x, *weights, *biases) if t is not None]
    assert torch.autograd.gradcheck(lambda x, *t: run_mlp([x], t[:2], t[2:], sharpness=3.0, hidden=True), tensors)


@native
def test_strided_inputs_and_weights() -> None:
    """Columns of wider tensors, one row for all points, transposes: no need to copy them first."""
    (x,), weights, biases = network(500, [20, 5], [12])
    wide, deep = torch.cat([x, x], 1), torch.cat([weights[0], weights[0]], 1)
    row = x[:1, 9:].expand(500, 3)
    parts = [wide[:, 12:18], x.T.contiguous().T[:, 6:9], row]
    plain = torch.cat([x[:, :9], row], 1)
    for first in (weights[0], deep[:, 12:], weights[0].T.contiguous().T):
        torch.testing.assert_close(
            run_mlp(parts, [first, weights[1]], biases), mlp_reference([plain], weights, biases), atol=2e-5, rtol=1e-5
        )


@native
def test_numbers_that_are_none_stay_in_their_row() -> None:
    (x,), weights, biases = network(200, [32, 32, 4], [8])
    x[77, 3], x[130, 0] = torch.nan, torch.inf
    wild = run_mlp([x], weights, biases)
    sane = torch.ones(200, dtype=torch.bool)
    sane[77] = sane[130] = False
    assert wild[77].isnan().all() and not wild[130].isfinite().any()  # a ReLU keeps what is not a number
    torch.testing.assert_close(wild[sane], mlp_reference([x[sane]], weights, biases), atol=2e-5, rtol=1e-5)


def test_gradients_flow() -> None:
    arguments = network(4, [5, 3], [2, 4])
    parts, weights, biases = ([t.double().requires_grad_() for t in group if t is not None] for group in arguments)
    assert torch.autograd.gradcheck(lambda *t: run_mlp(t[:2], t[2:4], t[4:]), (*parts, *weights, *biases))
    single = network(4, [5, 3], [2, 4])
    single[1][0].requires_grad_()
    run_mlp(*single).sum().backward()
    assert single[1][0].grad is not None and single[1][0].grad.any()


def test_modules_are_evaluated_as_they_are() -> None:
    net = mlp(9, 32, 4, 2)
    x = torch.randn(300, 9)
    expected = net(x)
    with torch.no_grad():
        torch.testing.assert_close(evaluate(net, x[:, :4], x[:, 4:]), expected, atol=1e-5, rtol=1e-5)
        packed = PackedMLP(9, 5, 32, 2)
        quick = packed(x)
    assert isinstance(net, nn.Sequential) and evaluate(net, x).requires_grad
    torch.testing.assert_close(quick, packed(x).detach(), atol=1e-5, rtol=1e-5)


def test_half_precision_is_left_to_torch() -> None:
    parts, weights, biases = network(10, [8, 2], [3])
    expected = run_mlp(parts, weights, biases)
    with torch.autocast("cpu", torch.bfloat16):
        found = run_mlp(parts, weights, biases)
    assert found.dtype == torch.bfloat16
    torch.testing.assert_close(found.float(), expected, atol=0.1, rtol=0.1)


def test_wider_networks_run_too() -> None:
    arguments = network(20, [300, 2], [3])
    torch.testing.assert_close(run_mlp(*arguments), mlp_reference(*arguments))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda p, w, b: ([], w, b), r"must be \[N, C\]"),
        (lambda p, w, b: ([p[0][0]], w, b), r"must be \[N, C\]"),
        (lambda p, w, b: ([p[0], p[0][1:]], w, b), r"must be \[N, C\]"),
        (lambda p, w, b: ([p[0][:, 1:]], w, b), "layer of 2 inputs"),
        (lambda p, w, b: (p, w[::-1], b), "layer of 3 inputs"),
        (lambda p, w, b: (p, w, b[::-1]), "layer of 3 inputs"),
        (lambda p, w, b: (p, w, b[:1]), "as many biases"),
        (lambda p, w, b: (p, [], []), "as many biases"),
        (lambda p, w, b: ([p[0].double()], w, b), "one float type"),
        (lambda p, w, b: ([p[0].to("meta")], w, b), "one float type and device"),
        (lambda p, w, b: ([p[0].long()], [m.long() for m in w], [None, None]), "one float type"),
    ],
)
def test_wrong_arguments_are_said(change, words: str) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(ValueError, match=words):
        run_mlp(*change(*network(5, [4, 2], [3])))
