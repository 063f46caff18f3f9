"""An animator's body: its one call gives what the ops give in turn."""

from __future__ import annotations

import pytest
import torch

from avatar_core.body.kinematics import relative_transforms_reference
from avatar_core.body.pose_offsets import pose_features
from avatar_core.cuda.body_frame import ShapedBody
from avatar_core.cuda.correctives import Correctives
from avatar_core.cuda.skin import skin_points_reference, sparse_weights

gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")


def shaped(vertices: int, joints: int, corrected: bool = True, sparse: bool = True) -> ShapedBody:
    random = torch.Generator().manual_seed(vertices + joints)
    weights = torch.rand(vertices, joints, generator=random)
    weights = weights * (torch.rand(vertices, joints, generator=random) < 0.3)
    own, indices = sparse_weights(weights) if sparse else (weights, None)
    offsets = 0.01 * torch.randn(vertices, 3, 9 * (joints - 1), generator=random)
    return ShapedBody(
        torch.randn(vertices, 3, generator=random),
        torch.randn(joints, 3, generator=random),
        (-1, *(max(0, joint - 2) for joint in range(1, joints))),
        own,
        indices,
        Correctives.pack(offsets) if corrected else None,
    )


def frame(joints: int) -> tuple[torch.Tensor, torch.Tensor]:
    random = torch.Generator().manual_seed(joints)
    return torch.randn(joints, 3, generator=random), torch.randn(3, generator=random)


def definition(body: ShapedBody, pose: torch.Tensor, transl: torch.Tensor | None) -> torch.Tensor:
    transforms = relative_transforms_reference(pose, body.centres, body.parents, transl)
    features = None if body.correctives is None else pose_features(pose)
    return skin_points_reference(body.rest, body.weights, transforms, body.joints, body.correctives, features)


@pytest.mark.parametrize(("vertices", "joints"), [(0, 3), (1, 1), (31, 2), (3333, 24), (70, 256), (40, 257)])
@pytest.mark.parametrize(("corrected", "sparse"), [(False, True), (True, True), (True, False)])
def test_equals_the_definition(vertices: int, joints: int, corrected: bool, sparse: bool) -> None:
    body, (pose, transl) = shaped(vertices, joints, corrected, sparse), frame(joints)
    torch.testing.assert_close(body.posed(pose, transl), definition(body, pose, transl), atol=2e-4, rtol=1e-4)
    torch.testing.assert_close(body.posed(pose), definition(body, pose, None), atol=2e-4, rtol=1e-4)
    wide = torch.zeros(joints, 6)
    wide[:, ::2] = pose
    assert torch.equal(body.posed(wide[:, ::2], transl), body.posed(pose, transl))


def test_is_what_the_ops_give_with_gradients() -> None:
    body, (pose, transl) = shaped(500, 24), frame(24)
    leaf = pose.clone().requires_grad_()
    posed = body.posed(leaf, transl)
    assert torch.equal(posed, body.posed(pose, transl))
    posed.sum().backward()
    assert leaf.grad is not None and bool(leaf.grad.isfinite().all()) and float(leaf.grad.abs().max()) > 0


def test_a_body_of_tensors_with_gaps_and_frames_after_frames() -> None:
    body, (pose, transl) = shaped(100, 4, sparse=False), frame(4)
    gaps = ShapedBody(
        body.rest.T.contiguous().T, body.centres.T.contiguous().T, body.parents, body.weights.T.contiguous().T
    )
    solid = ShapedBody(body.rest, body.centres, body.parents, body.weights)
    assert torch.equal(gaps.posed(pose, transl), solid.posed(pose, transl))
    first = body.posed(pose, transl)
    body.posed(2 * pose, transl)
    assert torch.equal(body.posed(pose, transl), first)


@pytest.mark.parametrize("value", [torch.nan, torch.inf, 1e30, -1e30, 0.0])
def test_wild_poses_end(value: float) -> None:
    body, (pose, transl) = shaped(100, 24), frame(24)
    pose[3] = value
    posed = body.posed(pose, transl)
    assert posed.shape == (100, 3) and (value != 0 or bool(posed.isfinite().all()))
    transl[1] = value
    body.posed(pose, transl)


def test_says_what_is_wrong() -> None:
    body, (pose, transl) = shaped(10, 3), frame(3)
    assert body.joints is not None
    for arguments in ((pose[:2], transl), (pose, transl[:2]), (pose[None], transl)):
        with pytest.raises(ValueError, match=r"pose and transl must be \(3, 3\) and \(3,\)"):
            body.posed(*arguments)
    with pytest.raises(ValueError, match="must be \\[V, 3\\] and its joints"):
        ShapedBody(body.rest, body.centres[:2], body.parents, body.weights, body.joints)
    with pytest.raises(ValueError, match="features must be"):
        ShapedBody(body.rest, body.centres[:2], body.parents[:2], body.weights, body.joints * 0, body.correctives)
    with pytest.raises(ValueError, match="joints point outside"):
        ShapedBody(body.rest, body.centres, body.parents, body.weights, body.joints + 3)
    with pytest.raises(ValueError, match="parents must be"):
        ShapedBody(body.rest, body.centres, (1, -1, 0), body.weights, body.joints).posed(pose)


@pytest.mark.gpu
@gpu
def test_cuda_equals_native() -> None:
    body, (pose, transl) = shaped(3333, 24), frame(24)
    assert body.correctives is not None and body.joints is not None
    packed = body.correctives
    there = Correctives(
        packed.values.cuda(), packed.features.cuda(), packed.first.cuda(), packed.steps.cuda(), packed.vertices
    )
    moved = ShapedBody(
        body.rest.cuda(), body.centres.cuda(), body.parents, body.weights.cuda(), body.joints.cuda(), there
    )
    posed = moved.posed(pose.cuda(), transl.cuda()).cpu()
    torch.testing.assert_close(posed, body.posed(pose, transl), atol=2e-4, rtol=1e-4)
