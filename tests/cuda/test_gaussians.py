"""Gaussian primitives: the integral is the integral, the kernels are the definition."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from avatar_core.cuda.gaussians import SPREAD, gaussian_image, gaussian_image_reference, published_background


def scene(limbs: int, height: int, width: int, seed: int = 1, kind: torch.dtype = torch.float32) -> list[Tensor]:
    """plane, centres, axes, widths, features, background."""
    generator = torch.Generator().manual_seed(seed)
    plane = torch.rand(height, width, 2, generator=generator) - 0.5
    centres = torch.randn(limbs, 3, generator=generator) * 0.4 + torch.tensor([0, 0, 3.0])
    axes = torch.randn(limbs, 3, generator=generator) * 0.3
    widths = torch.rand(limbs, generator=generator) * 0.3 + 0.1
    features = torch.randn(limbs, 5, generator=generator)
    return [tensor.to(kind) for tensor in (plane, centres, axes, widths, features, torch.tensor(3e-3))]


def test_the_weight_is_the_integral_along_the_ray() -> None:
    plane, centres, axes, widths, features, background = scene(1, 3, 4, kind=torch.float64)
    picture = gaussian_image_reference(plane, centres, axes, widths, features, background, 0)
    unit, length = axes[0] / axes[0].norm(), axes[0].norm()
    inverse = (torch.eye(3) - unit[:, None] * unit) / widths[0] ** 2 + unit[:, None] * unit / length**2
    ray = torch.nn.functional.pad(plane.view(-1, 2), (0, 1), value=1.0)
    ray = ray / ray.norm(dim=1, keepdim=True)
    t = torch.linspace(-10, 16, 200001, dtype=torch.float64)
    for number, direction in enumerate(ray):
        away = t[:, None] * direction - centres[0]
        density = torch.exp(-((away @ inverse) * away).sum(1) / SPREAD)
        peak = t[density.argmax()]
        weight = 0.5 * torch.trapezoid(density, t) / (1 + peak**4)  # half of it: as published
        alpha = weight / (weight + background)
        assert float(picture.alpha.view(-1)[number]) == pytest.approx(float(alpha), rel=1e-3, abs=1e-9)
        if alpha > 1e-6:
            assert float(picture.depth.view(-1)[number]) == pytest.approx(float(peak * direction[2]), abs=1e-3)


@pytest.mark.parametrize("limbs, height, width", [(1, 1, 1), (7, 20, 37), (40, 33, 16)])
@pytest.mark.parametrize("cull", [0.0, 1e-5])
def test_values_and_gradients_agree_with_the_definition(limbs: int, height: int, width: int, cull: float) -> None:
    mix = [
        torch.randn(shape, generator=torch.Generator().manual_seed(0)) for shape in ((5, height, width), (height, 1))
    ]
    results = []
    for kind, draw in ((torch.float32, gaussian_image), (torch.float64, gaussian_image_reference)):
        inputs = scene(limbs, height, width, limbs, kind)
        for tensor in inputs[1:]:
            tensor.requires_grad_()
        out = draw(*inputs, cull)
        loss = (out.features * mix[0].to(kind)).sum() + (out.alpha * mix[1].to(kind)).sum()
        seen = (out.alpha > 1e-3).to(kind)  # elsewhere the mean of depths hangs on next to nothing
        loss = loss + (out.depth * seen * mix[1].to(kind)).sum()
        loss.backward()
        results.append([*out[:2], *(tensor.grad / tensor.grad.abs().amax().clamp(min=1e-6) for tensor in inputs[1:])])
    for one, two in zip(*results, strict=True):
        torch.testing.assert_close(one.double(), two, atol=5e-4 if cull else 1e-4, rtol=1e-3)


def test_gradients_of_the_definition() -> None:
    plane, *inputs = scene(3, 2, 3, kind=torch.float64)
    for tensor in inputs:
        tensor.requires_grad_()
    assert torch.autograd.gradcheck(lambda *x: gaussian_image(plane, *x, 0)[:3], inputs)
    assert torch.autograd.gradcheck(lambda *x: published_background(plane, *x), inputs[:3])


def test_what_is_left_out_does_not_show() -> None:
    inputs = scene(30, 40, 50, 4)
    whole, culled = gaussian_image(*inputs, 0), gaussian_image(*inputs)
    assert float((whole.alpha - culled.alpha).abs().max()) < 3e-4  # 30 limbs, a hundred-thousandth each
    assert torch.equal(whole.limb[culled.alpha > 0.01], culled.limb[culled.alpha > 0.01])
    behind = [inputs[0], inputs[1] * torch.tensor([1.0, 1, -1]), *inputs[2:]]
    assert float(gaussian_image(*behind).alpha.max()) == 0 and float(gaussian_image(*behind, 0).alpha.max()) > 0


def test_single_precision_is_enough_for_thin_limbs_far_away() -> None:
    plane, centres, axes, widths, features, _ = scene(30, 32, 32, 5, torch.float64)
    inputs = (
        plane,
        centres + torch.tensor([0, 0, 2.0]),
        axes * 2,
        widths * 0 + 0.02,
        features,
        torch.tensor(1e-7).double(),
    )
    rounded = [tensor.float() for tensor in inputs]
    exact = gaussian_image_reference(*(tensor.double() for tensor in rounded))
    picture = gaussian_image(*rounded)
    assert float((picture.alpha - exact.alpha).abs().max()) < 3e-5
    assert float(published_background(*rounded[:4])) == pytest.approx(
        float(published_background(*inputs[:4])), rel=1e-4
    )


@pytest.mark.parametrize("cull", [0.0, 1e-5])
def test_degenerate_limbs_never_harm(cull: float) -> None:
    plane, centres, axes, widths, features, background = scene(6, 9, 18)
    clean = gaussian_image(plane, centres[3:], axes[3:], widths[3:], features[3:], background, cull)
    centres[0], axes[1], widths[2] = math.nan, math.inf, math.nan
    for draw in (gaussian_image, gaussian_image_reference):
        picture = draw(plane, centres, axes, widths, features, background, cull)
        torch.testing.assert_close(picture.features, clean.features, atol=1e-5, rtol=1e-4)
    point = gaussian_image(plane, centres[3:], torch.zeros(3, 3), widths[3:], features[3:], background, cull)
    assert torch.isfinite(point.features).all()


def test_nothing_gives_nothing() -> None:
    for draw in (gaussian_image, gaussian_image_reference):
        plane, centres, axes, widths, features, background = scene(3, 4, 5)
        none = draw(plane, centres[:0], axes[:0], widths[:0], features[:0], background)
        assert none.features.shape == (5, 4, 5) and (none.limb == -1).all() and (none.alpha == 0).all()
        assert draw(plane[:0], centres, axes, widths, features, background).alpha.shape == (0, 5)
    turned = plane.transpose(0, 1).contiguous().transpose(0, 1)
    one = gaussian_image(turned, centres, axes, widths, features, background)
    assert torch.equal(one.features, gaussian_image(plane, centres, axes, widths, features, background).features)


def test_wrong_input_is_said() -> None:
    inputs = scene(3, 4, 5)
    for place, wrong, words in (
        (0, inputs[0][0], "plane must be"),
        (2, inputs[2][:2], "axes must be"),
        (5, torch.ones(1), "background must be"),
        (3, inputs[3].double(), "one float type"),
        (4, inputs[4].to("meta"), "one device"),
    ):
        with pytest.raises(ValueError, match=words):
            gaussian_image(*inputs[:place], wrong, *inputs[place + 1 :])


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_the_gpu_gives_the_same() -> None:
    results = []
    for place in ("cpu", "cuda"):
        inputs = [tensor.to(place).requires_grad_() for tensor in scene(20, 40, 50)]
        out = gaussian_image(*inputs)
        (out.features.square().sum() + out.alpha.sum()).backward()
        back = published_background(*inputs[:4])
        results.append([*out, back, *(tensor.grad for tensor in inputs[1:])])
    for one, two in zip(*results, strict=True):
        torch.testing.assert_close(one, two.cpu(), atol=1e-4, rtol=1e-3)
