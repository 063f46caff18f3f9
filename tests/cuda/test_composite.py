"""Packed compositing: the kernels agree with the definition, the definition with its own gradients."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from avatar_core.cuda.composite import (
    accumulate,
    accumulate_reference,
    composite,
    sample_weights,
    weights_reference,
)
from avatar_core.cuda.loader import library


def scene(samples: int, rays: int, channels: int, seed: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    ray = torch.sort(torch.randint(0, rays, (samples,), generator=generator)).values
    depth = torch.rand(samples, generator=generator) ** 4 * 3
    before = torch.rand(rays, generator=generator)
    return depth, torch.randn(samples, channels, generator=generator), ray, before


@pytest.mark.parametrize("samples, rays, channels", [(1, 1, 1), (7, 3, 4), (5000, 90, 3), (9000, 3000, 16)])
@pytest.mark.parametrize("stop", [0.0, 0.05])
def test_values_and_gradients_agree_with_the_definition(samples: int, rays: int, channels: int, stop: float) -> None:
    depth, value, ray, before = scene(samples, rays, channels, samples)
    results = []
    for weigh, add, kind in (
        (sample_weights, accumulate, torch.float32),
        (weights_reference, accumulate_reference, torch.float64),
    ):
        inputs = [tensor.clone().to(kind).requires_grad_() for tensor in (depth, value, before)]
        weight = weigh(inputs[0], ray, inputs[2][ray], stop)
        sums, coverage = add(weight, inputs[1], ray, rays), add(weight, None, ray, rays)
        (sums.square().sum() + (coverage * torch.arange(rays).to(kind)).sum() / rays).backward()
        results.append([weight, sums, coverage, *(tensor.grad for tensor in inputs)])
    for one, two in zip(*results, strict=True):
        torch.testing.assert_close(one, two.float(), atol=2e-5, rtol=2e-4)


@pytest.mark.parametrize("stop", [0.0, 0.2])
def test_gradients_of_the_definition(stop: float) -> None:
    depth, value, ray, before = (t.double() if t.is_floating_point() else t for t in scene(30, 6, 2, 1))
    inputs = [tensor.requires_grad_() for tensor in (depth, value, before)]
    assert torch.autograd.gradcheck(lambda d, v, b: tuple(composite(d, v, ray, b, stop)), inputs)


@pytest.mark.parametrize("stop", [0.0, 0.1])
def test_rays_in_parts_are_the_same_rays(stop: float) -> None:
    depth, value, ray, before = scene(4000, 100, 3, 2)
    whole = composite(depth, value, ray, before, stop)
    total, coverage, state = torch.zeros(100, 3), torch.zeros(100), before
    start = torch.searchsorted(ray, torch.arange(100))
    wave = (torch.arange(4000) - start[ray]) // 4
    for number in range(int(wave.max()) + 1):
        part = wave == number
        one = composite(depth[part], value[part], ray[part], state, stop)
        total, coverage, state = total + one.value, coverage + one.coverage, one.depth
    torch.testing.assert_close(total, whole.value, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(coverage, whole.coverage, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(state, whole.depth, atol=1e-5, rtol=1e-4)


def test_thin_media_keep_their_digits() -> None:
    depth = torch.full((3,), 1e-6)
    torch.testing.assert_close(sample_weights(depth, torch.arange(3)), depth, atol=0, rtol=1e-5)


def test_views_and_nothing() -> None:
    depth, value, ray, before = scene(200, 20, 3, 4)
    wide = torch.stack([depth, depth], 1)
    assert torch.equal(sample_weights(wide[:, 0], ray), sample_weights(depth, ray))
    turned = value.T.contiguous().T
    assert torch.equal(accumulate(depth, turned, ray, 20), accumulate(depth, value, ray, 20))
    empty = composite(depth[:0], value[:0], ray[:0], before)
    assert empty.value.shape == (20, 3) and torch.equal(empty.depth, before)


def test_what_is_no_number_stays_on_its_ray() -> None:
    depth, _, ray, _ = scene(300, 10, 1, 5)
    clean = sample_weights(depth, ray)
    for poison in (float("nan"), float("inf"), -float("inf"), -5.0):
        bad = depth.clone().requires_grad_()
        with torch.no_grad():
            bad[ray == 4] = poison
        weight = sample_weights(bad, ray, stop=0.01)
        weight[ray != 4].sum().backward()
        assert torch.equal(weight[ray != 4], sample_weights(depth, ray, stop=0.01)[ray != 4])
    assert torch.isfinite(clean).all()


@pytest.mark.skipif(library() is None, reason="the definition raises PyTorch's IndexError")
@pytest.mark.parametrize("samples", [1, 5, 3000])
def test_rays_out_of_order_never_harm(samples: int) -> None:
    """Wrong, but only its ends are looked at before the kernels run: these must not write where they should not."""
    generator = torch.Generator().manual_seed(samples)
    ray = torch.randint(-(10**12), 10**12, (samples,), generator=generator)
    ray[0], ray[-1] = 0, 6 if samples > 1 else 0
    depth = torch.randn(samples, generator=generator).requires_grad_()
    value = torch.randn(samples, 3, generator=generator).requires_grad_()
    for total in (sample_weights(depth, ray), accumulate(depth, value, ray, 7), accumulate(depth, None, ray, 7)):
        total.sum().backward()
    assert depth.grad is not None and value.grad is not None


def test_wrong_input_is_said() -> None:
    depth, value, ray, _ = scene(20, 4, 3, 6)
    with pytest.raises(ValueError, match=r"\[S\]"):
        sample_weights(depth[:3], ray)
    with pytest.raises(ValueError, match="int64"):
        sample_weights(depth, ray.float())
    with pytest.raises(ValueError, match="value must be"):
        accumulate(depth, value.double(), ray, 4)
    with pytest.raises(ValueError, match="ray must rise"):
        accumulate(depth, value, ray, int(ray[-1]))
    with pytest.raises(ValueError, match="one device"):
        accumulate(depth, value.to("meta"), ray, 4)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_the_gpu_gives_the_same() -> None:
    results = []
    for place in ("cpu", "cuda"):
        depth, value, ray, before = (tensor.to(place) for tensor in scene(5000, 90, 3, 7))
        depth, value = depth.requires_grad_(), value.requires_grad_()
        out = composite(depth, value, ray, before, 0.01)
        (out.value.square().sum() + out.coverage.sum() + out.depth.sum()).backward()
        results.append([*out, depth.grad, value.grad])
    for one, two in zip(*results, strict=True):
        torch.testing.assert_close(one, two.cpu(), atol=1e-5, rtol=1e-4)
