"""The native mixture of points around a sample equals its definition."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest
import torch
from torch import Tensor

from avatar_core.cuda.loader import choose
from avatar_core.cuda.point_mix import point_mix, point_mix_reference

OCTAVES = 3, 5


def case(samples: int, around: int, channels: int, seed: int = 0) -> tuple[Tensor, ...]:
    torch.manual_seed(seed)
    points, features = 10 * torch.rand(500, 3), 20 * torch.randn(500, channels)
    indices = torch.randint(-1, 500, (samples, around))
    rotation = torch.linalg.qr(torch.randn(3, 3)).Q
    return 10 * torch.rand(samples, 3), indices, points, features, rotation


SIZES = [(1000, 8, 32), (17, 1, 4), (5, 64, 128), (1, 8, 1), (0, 8, 3)]


def mix(inputs: Sequence[Tensor]) -> Tensor:
    places, indices, points, features, rotation = inputs
    return point_mix(places, indices, points, features, rotation, OCTAVES)


def defined(inputs: Sequence[Tensor]) -> Tensor:
    places, indices, points, features, rotation = inputs
    return point_mix_reference(places, indices, points, features, rotation, OCTAVES)


@pytest.mark.parametrize(("samples", "around", "channels"), SIZES)
def test_native_is_the_definition(samples: int, around: int, channels: int) -> None:
    inputs = case(samples, around, channels)
    double = [tensor.double() if tensor.is_floating_point() else tensor for tensor in inputs]
    wanted = defined(double)
    torch.testing.assert_close(mix(inputs).double(), wanted, atol=3e-4, rtol=1e-5)  # 32 x rounding of x
    if choose(inputs[0]) == "native" and samples:
        assert not torch.equal(mix(inputs), defined(inputs))


def test_a_sample_upon_a_point_and_one_without() -> None:
    places, indices, points, features, rotation = case(2, 4, 6)
    places[0], indices[0, 0], indices[1] = points[7], 7, -1
    found = point_mix(places, indices, points, features, rotation, OCTAVES)
    torch.testing.assert_close(found[0, :6], features[7], atol=1e-2, rtol=1e-3)
    assert bool((found[1, :6] == 0).all()) and found[1, 6:].tolist() == [0, 1] * (6 * 3 + 6 * 5)


def test_gradients_of_the_definition() -> None:
    places, indices, points, features, rotation = (
        tensor.double() if tensor.is_floating_point() else tensor for tensor in case(3, 4, 2)
    )
    points, features = points.requires_grad_(), (features / 20).detach().requires_grad_()

    def mixed(points: Tensor, features: Tensor) -> Tensor:
        return point_mix(places, indices, points, features, rotation, (1, 1))

    assert torch.autograd.gradcheck(mixed, (points, features))


def test_not_finite_numbers_stay() -> None:
    inputs = case(40, 8, 8)
    inputs[2][inputs[1][3, 0].clamp(min=0)] = torch.nan
    inputs[3][inputs[1][20, 0].clamp(min=0)] = torch.inf
    found, wanted = mix(inputs), defined(inputs)
    assert torch.equal(found.isfinite().all(1), wanted.isfinite().all(1))


@pytest.mark.parametrize(
    "change",
    [
        lambda places, indices, *rest: (places[:, :2], indices, *rest),
        lambda places, indices, *rest: (places, indices.int(), *rest),
        lambda places, indices, points, *rest: (places, indices, points[:-1], *rest),
        lambda places, indices, points, *rest: (places.double(), indices, points, *rest),
    ],
)
def test_what_does_not_fit_is_refused(change: Callable[..., tuple[Tensor, ...]]) -> None:
    with pytest.raises(ValueError, match="must"):
        mix(change(*case(4, 2, 3)))


def test_threads_change_nothing() -> None:
    inputs = case(3000, 8, 16)
    whole = mix(inputs)
    part = mix((inputs[0][:100], inputs[1][:100], *inputs[2:]))
    assert torch.equal(whole[:100], part)
