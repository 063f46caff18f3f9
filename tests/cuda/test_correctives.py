"""Skinning of batches, with pose correctives: values and gradients are the reference's, whatever the shapes."""

from __future__ import annotations

import pytest
import torch

from avatar_core.cuda.correctives import Correctives
from avatar_core.cuda.loader import library
from avatar_core.cuda.skin import (
    skin_points,
    skin_points_reference,
    sparse_weights,
    unskin_points,
    unskin_points_reference,
)

native = pytest.mark.skipif(library() is None, reason="no compiler was found: only the reference exists here")
gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")


def posedirs(count: int, features: int, share: float, seed: int = 0) -> torch.Tensor:
    """Of which `share` is not zero."""
    random = torch.Generator().manual_seed(seed)
    values = 0.01 * torch.randn(count, 3, features, generator=random)
    return values * (torch.rand(count, 1, features, generator=random) < share)


def inputs(count: int, points: tuple[int, ...], transforms: tuple[int, ...], features: tuple[int, ...]) -> list:
    """points, dense weights, transforms, features; leading sides of each."""
    random = torch.Generator().manual_seed(count)
    weights = torch.rand(count, 6, generator=random) * (torch.rand(count, 6, generator=random) < 0.5)
    return [
        torch.randn(*points, count, 3, generator=random),
        weights,
        torch.eye(4) + 0.3 * torch.randn(*transforms, 6, 4, 4, generator=random),
        torch.randn(*features, 11, generator=random),
    ]


@pytest.mark.parametrize("share", [0.0, 0.01, 1.0])
@pytest.mark.parametrize(("count", "features"), [(0, 3), (1, 1), (31, 5), (32, 4), (100, 9), (5, 0)])
def test_packing_keeps_offsets(count: int, features: int, share: float) -> None:
    dense = posedirs(count, features, share)
    packed = Correctives.pack(dense)
    assert packed.unpack().shape == dense.shape and len(packed.first) == -(-count // 32) + 1
    if dense.numel():
        largest = dense.abs().amax((0, 1))
        assert bool(((packed.unpack() - dense).abs() <= 1.01 * largest / 65534 + 1e-12).all())
    if share == 0:
        assert len(packed.values) == 0


def test_the_free_template_takes_little_memory() -> None:
    from avatar_core.body import load_body

    dense = torch.from_numpy(load_body().posedirs)
    packed = Correctives.pack(dense)
    assert packed.values.nbytes < dense.nbytes / 10
    torch.testing.assert_close(packed.unpack(), dense, atol=2e-6, rtol=0)


@native
@pytest.mark.parametrize("sparse", [False, True])
@pytest.mark.parametrize("share", [0.0, 0.02, 1.0])
@pytest.mark.parametrize(
    ("count", "points", "transforms", "features"),
    [
        (0, (), (), ()),
        (1, (), (), ()),
        (70, (), (), ()),
        (333, (), (9,), (9,)),
        (40, (3,), (3,), ()),
        (33, (2, 1), (5,), ()),
        (64, (0,), (), ()),
        (2000, (), (), (2,)),
    ],
)
def test_equals_reference(
    count: int, points: tuple, transforms: tuple, features: tuple, share: float, sparse: bool
) -> None:
    leaves = [tensor.requires_grad_() for tensor in inputs(count, points, transforms, features)]
    packed = Correctives.pack(posedirs(count, 11, share))
    weights, joints = sparse_weights(leaves[1]) if sparse else (leaves[1], None)
    arguments = leaves[0], weights, leaves[2], joints, packed, leaves[3]
    ours, wanted = skin_points(*arguments), skin_points_reference(*arguments)
    torch.testing.assert_close(ours, wanted, atol=2e-5, rtol=1e-5)
    factor = torch.randn(ours.shape, generator=torch.Generator().manual_seed(1))
    for a, b in zip(
        *(torch.autograd.grad((value * factor).sum(), leaves, retain_graph=True) for value in (ours, wanted))
    ):
        scale = float(b.abs().max()) if b.numel() else 0.0
        torch.testing.assert_close(a, b, atol=1e-5 * scale + 1e-6, rtol=1e-4)


@native
@pytest.mark.parametrize("sparse", [False, True])
@pytest.mark.parametrize(
    ("count", "points", "transforms"), [(0, (), ()), (1, (), ()), (70, (9,), ()), (33, (2, 1), (5,)), (3000, (), (2,))]
)
def test_inverse_equals_reference(count: int, points: tuple, transforms: tuple, sparse: bool) -> None:
    """The first two transforms are opposite half turns, so that some points have lost their volume."""
    where, weights, matrices, _ = inputs(count, points, transforms, ())
    matrices = torch.eye(4) + 0.3 * (matrices - torch.eye(4))
    matrices[..., 0, :3, :3] = torch.eye(3)
    matrices[..., 1, :3, :3] = torch.diag(torch.tensor([1.0, -1, -1]))
    weights = torch.cat([torch.full((count, 2), 0.5), 0.01 * weights[:, 2:]], 1)
    weights[::3] = torch.tensor([0.6, 0, 0.4, 0, 0, 0])
    leaves = [tensor.requires_grad_() for tensor in (where, weights, matrices)]
    own, joints = sparse_weights(weights) if sparse else (weights, None)
    ours, wanted = (f(where, own, matrices, joints) for f in (unskin_points, unskin_points_reference))
    torch.testing.assert_close(ours, wanted, atol=1e-3, rtol=1e-4)
    factor = torch.randn(ours.shape, generator=torch.Generator().manual_seed(1))
    gradients = [torch.autograd.grad((value * factor).sum(), leaves, retain_graph=True) for value in (ours, wanted)]
    for a, b in zip(*gradients):
        scale = float(b.abs().max()) if b.numel() else 0.0
        torch.testing.assert_close(a, b, atol=1e-4 * scale + 1e-6, rtol=1e-3)


@native
def test_inverse_of_wild_numbers_is_safe() -> None:
    points, weights, transforms, _ = inputs(40, (2,), (2,), ())
    points[0, 3], transforms[1, 2], transforms[0] = float("nan"), float("inf"), 0.0
    leaves = [tensor.requires_grad_() for tensor in (points, weights, transforms)]
    unskin_points(leaves[0], leaves[1], leaves[2]).sum().backward()


def test_reference_gradients_are_exact() -> None:
    points, weights, transforms, features = (tensor.double() for tensor in inputs(3, (2,), (), (2,)))
    packed = Correctives.pack(posedirs(3, 11, 1.0))
    leaves = tuple(tensor.requires_grad_() for tensor in (points, weights, transforms, features))
    assert torch.autograd.gradcheck(lambda p, w, t, f: skin_points_reference(p, w, t, None, packed, f), leaves)


@native
def test_is_the_same_whatever_the_number_of_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    from avatar_core.cuda import threads

    points, weights, transforms, features = inputs(5000, (), (3,), (3,))
    packed, results = Correctives.pack(posedirs(5000, 11, 0.3)), []
    for count in (1, 3):
        monkeypatch.setattr(threads, "thread_count", lambda count=count: count)
        leaves = [tensor.clone().requires_grad_() for tensor in (points, weights, transforms, features)]
        out = skin_points(leaves[0], leaves[1], leaves[2], None, packed, leaves[3])
        results.append([out, *torch.autograd.grad(out.square().sum(), leaves)])
    for one, two in zip(*results):
        assert one.equal(two)


@native
def test_wild_numbers_and_views_are_safe() -> None:
    points, weights, transforms, features = inputs(40, (2,), (2,), (2,))
    packed = Correctives.pack(posedirs(40, 11, 1.0))
    wide = points.mT.contiguous().mT
    same = [skin_points(p, weights, transforms, None, packed, features) for p in (points, wide)]
    torch.testing.assert_close(*same)
    points[0, 3], transforms[1, 2], features[0, 1] = float("nan"), float("inf"), float("-inf")
    leaves = [tensor.requires_grad_() for tensor in (points, weights, transforms, features)]
    skin_points(leaves[0], leaves[1], leaves[2], None, packed, leaves[3]).sum().backward()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_goes_through_the_reference(dtype: torch.dtype) -> None:
    points, weights, transforms, features = inputs(40, (), (), ())
    packed = Correctives.pack(posedirs(40, 11, 1.0))
    halves = [tensor.to(dtype) for tensor in (points, weights / (weights.sum(1, keepdim=True) + 1), transforms)]
    wanted = skin_points(halves[0].float(), halves[1].float(), halves[2].float(), None, packed, features)
    half = skin_points(halves[0], halves[1], halves[2], None, packed, features.to(dtype))
    assert half.dtype == dtype and bool(((half - wanted).abs() < 0.1).all())
    assert unskin_points(half, halves[1], halves[2]).dtype == dtype


def test_wrong_arguments_are_said() -> None:
    points, weights, transforms, features = inputs(4, (), (), ())
    packed = Correctives.pack(posedirs(4, 11, 1.0))
    with pytest.raises(ValueError, match="go together"):
        skin_points(points, weights, transforms, None, packed)
    for arguments, words in (
        ((points, weights, transforms, None, packed, features[:5]), r"\[\.\.\., 11\] for 4 vertices"),
        ((points, weights, transforms, None, packed, features.double()), "one float type"),
        ((points[:3], weights[:3], transforms, None, packed, features), "for 3"),
        ((points, weights, transforms, None, packed, features.to("meta")), "one device"),
        ((points.expand(2, 4, 3), weights, transforms.expand(3, 6, 4, 4), None, packed, features), "broadcastable"),
    ):
        with pytest.raises(ValueError, match=words):
            skin_points(*arguments)
    for bad, words in ((torch.zeros(3, 3), r"\[V, 3, F\]"), (torch.full((2, 3, 1), float("nan")), "finite")):
        with pytest.raises(ValueError, match=words):
            Correctives.pack(bad)


@gpu
@pytest.mark.gpu
def test_cuda_is_native() -> None:
    tensors, packed = inputs(500, (), (3,), (3,)), Correctives.pack(posedirs(500, 11, 0.1))
    there = Correctives.pack(posedirs(500, 11, 0.1).cuda())
    results = []
    for device, own in (("cpu", packed), ("cuda", there)):
        leaves = [tensor.to(device).requires_grad_() for tensor in tensors]
        out = skin_points(leaves[0], leaves[1], leaves[2], None, own, leaves[3])
        out = unskin_points(out + 0.1, leaves[1], leaves[2])
        results.append([part.detach().cpu() for part in (out, *torch.autograd.grad(out.square().sum(), leaves))])
    for one, two in zip(*results):
        torch.testing.assert_close(one, two, atol=1e-4 * float(one.abs().max()), rtol=0)
