"""Native skinning, root finding and canonical points are their references."""

from __future__ import annotations

import pytest
import torch

from avatar_core.cuda.broyden import SkinningVolume, find_roots, find_roots_reference, with_gradients
from avatar_core.cuda.canonical import canonical_points, canonical_points_reference
from avatar_core.cuda.loader import library
from avatar_core.cuda.skin import skin_points, skin_points_reference, sparse_weights

native = pytest.mark.skipif(library() is None, reason="no compiler was found: only the reference exists here")
gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
NAN = float("nan")


def body(count: int, joints: int = 5, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    torch.manual_seed(seed + count)
    weights = torch.rand(count, joints) * (torch.rand(count, joints) < 0.6)
    return torch.randn(count, 3), weights, torch.eye(4) + 0.3 * torch.randn(joints, 4, 4)


def volume(dtype: torch.dtype = torch.float32) -> tuple[SkinningVolume, torch.Tensor]:
    torch.manual_seed(1)
    bones = torch.eye(4, dtype=dtype).repeat(3, 1, 1)
    bones[:, :3] += 0.08 * torch.randn(3, 3, 4, dtype=dtype)
    weights = torch.randn(3, 3, 4, 5, dtype=dtype).softmax(0)
    return SkinningVolume.blend(weights, bones, (-1, -1, -0.5), (1, 1, 0.5)), bones.inverse()


def closest(count: int) -> tuple[torch.Tensor, ...]:
    torch.manual_seed(count)
    surface, faces = torch.randn(20, 21), torch.randint(0, 20, (30, 3))
    bary = torch.rand(count, 3).softmax(1)
    return torch.randn(count, 3), torch.rand(count), torch.randint(0, 30, (count,)), bary, surface, faces


@native
@pytest.mark.parametrize("count", [0, 1, 7, 3000])
@pytest.mark.parametrize("sparse", [False, True])
def test_skinning_agrees_in_values_and_gradients(count: int, sparse: bool) -> None:
    points, weights, transforms = body(count)
    weights, joints = sparse_weights(weights) if sparse else (weights, None)
    inputs = [tensor.requires_grad_() for tensor in (points, weights, transforms)]
    one, two = (f(*inputs, joints) for f in (skin_points, skin_points_reference))
    torch.testing.assert_close(one, two, atol=1e-5, rtol=1e-5)
    factor = torch.randn_like(one)
    first, second = (torch.autograd.grad((value * factor).sum(), inputs) for value in (one, two))
    for a, b in zip(first, second):
        torch.testing.assert_close(a, b, atol=1e-3, rtol=1e-4)


def test_sparse_weights_are_exact() -> None:
    points, weights, transforms = body(50)
    torch.testing.assert_close(
        skin_points_reference(points, *(sparse_weights(weights)[:1]), transforms, sparse_weights(weights)[1]),
        skin_points_reference(points, weights, transforms),
    )


def test_the_references_have_the_right_gradients() -> None:
    inputs = [tensor.double().requires_grad_() for tensor in body(4, 3)]
    assert torch.autograd.gradcheck(skin_points_reference, inputs)


@native
def test_strided_and_wild_input_is_safe() -> None:
    points, weights, transforms = body(9)
    wide = torch.cat([points, points], 1)[:, 1:4]
    torch.testing.assert_close(
        skin_points(wide, weights, transforms), skin_points(wide.contiguous(), weights, transforms)
    )
    points[0, 0], transforms[1] = NAN, float("inf")
    assert skin_points(points, torch.zeros_like(weights), transforms).shape == (9, 3)
    field, starts = volume()
    wild = torch.tensor([[NAN, 0, 0], [float("inf"), 0, 0], [1e30, -1e30, 0]])
    assert not find_roots(wild, field, starts).valid.any()
    zero = SkinningVolume(torch.zeros(2, 2, 2, 4, 4), field.low, field.high)
    assert not find_roots(torch.ones(5, 3), zero, starts).valid.any()
    holes = SkinningVolume(torch.full((2, 2, 2, 4, 4), NAN), field.low, field.high)
    assert not find_roots(torch.ones(5, 3), holes, starts).valid.any()


@native
@pytest.mark.parametrize(("count", "start_count"), [(0, 3), (1, 3), (7, 1), (2000, 3), (100, 0), (30, 17)])
def test_roots_agree(count: int, start_count: int) -> None:
    field, starts = volume()
    starts = starts.repeat(6, 1, 1)[:start_count]
    posed = field.forward(torch.rand(count, 3) - 0.5)
    ours, reference = (f(posed, field, starts) for f in (find_roots, find_roots_reference))
    assert ours.points.shape == (count, start_count, 3)
    both = ours.valid & reference.valid
    if count * start_count > 500:
        assert (ours.valid == reference.valid).float().mean() > 0.995 and both.float().mean() > 0.8
        assert (ours.distinct == reference.distinct).float().mean() > 0.995
        assert ours.distinct.any(1).equal(ours.valid.any(1))
    assert ((ours.points - reference.points)[both].abs() < 1e-5).all()
    back = field.forward(ours.points[ours.valid])
    target = posed[:, None].expand_as(ours.points)[ours.valid]
    assert ((back - target).norm(dim=1) < 1.2e-5).all()


def test_roots_have_implicit_gradients() -> None:
    field, starts = volume(torch.float64)
    posed = field.forward(torch.rand(2, 3).double() - 0.5).detach()

    def root(points: torch.Tensor, change: torch.Tensor) -> torch.Tensor:
        varied = SkinningVolume(field.transforms + change * field.transforms.roll(1, 0), field.low, field.high)
        found = find_roots(points.detach(), varied, starts[:1], steps=30, converged=1e-12).points[:, 0]
        return with_gradients(found, points, varied)

    change = torch.zeros(4, 4, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(root, (posed.requires_grad_(), change), atol=1e-4)


@native
@pytest.mark.parametrize("count", [0, 1, 5000])
def test_canonical_points_agree(count: int) -> None:
    inputs = closest(count)
    if count > 1:
        inputs[1][0], inputs[0][1], inputs[4][3] = float("inf"), NAN, 0
    for a, b in zip(canonical_points(*inputs), canonical_points_reference(*inputs)):
        if a.dim() == 2 and a.is_floating_point():  # random matrices may be close to singular
            assert ((a - b).abs() <= 1e-3 + 1e-3 * b.abs()).float().mean() > 0.99 if count > 1 else True
        else:
            assert torch.isclose(a.float(), b.float(), atol=1e-5, equal_nan=True).float().mean() > 0.999 or count == 0


@gpu
@pytest.mark.gpu
def test_cuda_is_native() -> None:
    points, weights, transforms = body(3000)
    torch.testing.assert_close(
        skin_points(points.cuda(), weights.cuda(), transforms.cuda()).cpu(), skin_points(points, weights, transforms)
    )
    inputs = closest(1000)
    on_gpu = canonical_points(*(tensor.cuda() for tensor in inputs))
    assert torch.isclose(on_gpu[1].cpu(), canonical_points(*inputs)[1]).float().mean() > 0.999
    field, starts = volume()
    posed = field.forward(torch.rand(1000, 3) - 0.5)
    there = find_roots(posed.cuda(), SkinningVolume(field.transforms.cuda(), field.low, field.high), starts.cuda())
    assert (there.valid.cpu() == find_roots(posed, field, starts).valid).float().mean() > 0.995


def test_wrong_arguments_are_said() -> None:
    points, weights, transforms = body(4)
    for arguments, words in (
        ((points[:, :2], weights, transforms), "points must be"),
        ((points, weights[:3], transforms), "weights must be"),
        ((points, weights, transforms[:, :3]), "transforms must be"),
        ((points.double(), weights, transforms), "one float type"),
        ((points, weights, transforms, torch.full((4, 5), 5, dtype=torch.int32)), "outside"),
        ((points, weights, transforms, torch.zeros(4, 5)), "int32"),
    ):
        with pytest.raises(ValueError, match=words):
            skin_points(*arguments)
    field, starts = volume()
    for roots, words in (
        ((points, field, starts[:, :3]), "starts must be"),
        ((points[:, :2], field, starts), "points must be"),
        ((points.half(), field, starts), "one float type"),
        ((points.long(), field, starts), "one float type"),
        ((points.to("meta"), field, starts), "one device"),
    ):
        with pytest.raises(ValueError, match=words):
            find_roots(*roots)
    inputs = closest(3)
    with pytest.raises(ValueError, match="face points outside"):
        canonical_points(*inputs[:2], inputs[2] + 30, *inputs[3:])
