"""The kernels of the kinematics are the definitions in torch."""

from __future__ import annotations

import pytest
import torch

from avatar_core.body.joints import SMPL_PARENTS
from avatar_core.body.kinematics import (
    axis_angle_to_matrix,
    axis_angle_to_matrix_reference,
    relative_transforms,
    relative_transforms_reference,
)
from avatar_core.cuda.loader import library

native = pytest.mark.skipif(library() is None, reason="no compiler was found: only the reference exists here")
gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")


def gradients(value: torch.Tensor, inputs: tuple[torch.Tensor, ...]) -> tuple[torch.Tensor, ...]:
    factor = torch.randn(value.shape, generator=torch.Generator().manual_seed(1)).to(value)
    return torch.autograd.grad((value * factor).sum(), inputs)


@native
@pytest.mark.parametrize("shape", [(3,), (0, 3), (1, 3), (5, 7, 3), (3000, 3)])
@pytest.mark.parametrize("scale", [0.0, 1e-30, 1e-3, 0.02, 1.0, 30.0])
def test_rotations_agree(shape: tuple[int, ...], scale: float) -> None:
    pose = (scale * torch.randn(shape, generator=torch.Generator().manual_seed(0))).requires_grad_()
    exact = pose.detach().double().requires_grad_()
    ours, wanted = axis_angle_to_matrix(pose), axis_angle_to_matrix_reference(exact)
    torch.testing.assert_close(ours.double(), wanted, atol=3e-7, rtol=0)
    torch.testing.assert_close(
        gradients(ours, (pose,))[0].double(), gradients(wanted, (exact,))[0], atol=3e-6, rtol=1e-5
    )


@native
@pytest.mark.parametrize("batch", [(), (0,), (1,), (2, 3), (600,)])
@pytest.mark.parametrize("one_shape", [False, True])
@pytest.mark.parametrize("parents", [SMPL_PARENTS, (-1,), (-1, -1, 0, 1, 3)])
def test_chains_agree(batch: tuple[int, ...], one_shape: bool, parents: tuple[int, ...]) -> None:
    random = torch.Generator().manual_seed(len(batch))
    count = len(parents)
    pose, transl = torch.randn(*batch, count, 3, generator=random), torch.randn(*batch, 3, generator=random)
    joints = torch.randn(*(() if one_shape else batch), count, 3, generator=random)
    inputs = tuple(tensor.requires_grad_() for tensor in (pose, joints, transl))
    exact = tuple(tensor.detach().double().requires_grad_() for tensor in inputs)
    ours = relative_transforms(pose, joints, parents, transl)
    wanted = relative_transforms_reference(*exact[:2], parents, exact[2])
    assert ours.shape == (*batch, count, 4, 4)
    torch.testing.assert_close(ours.double(), wanted, atol=2e-5, rtol=1e-5)
    for a, b in zip(gradients(ours, inputs), gradients(wanted, exact)):
        torch.testing.assert_close(a.double(), b, atol=1e-4 * float(b.abs().max()) if b.numel() else 0, rtol=0)


@native
def test_views_and_wild_numbers_are_safe() -> None:
    wide = torch.randn(4, 6)
    torch.testing.assert_close(axis_angle_to_matrix(wide[:, ::2]), axis_angle_to_matrix(wide[:, ::2].clone()))
    wild = torch.tensor([[float("nan"), 0, 0], [float("inf"), 1, 0], [3e38, 0, 0], [1e-45, 0, 0]], requires_grad=True)
    matrices = axis_angle_to_matrix(wild)
    assert bool(matrices[0].isnan().any()) and bool(matrices[2:].isfinite().all())
    matrices.sum().backward()
    assert bool(relative_transforms(wild.detach(), torch.zeros(4, 3), (-1, 0, 1, 2)).isnan().any())


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_goes_through_the_reference(dtype: torch.dtype) -> None:
    pose, joints = torch.randn(2, 3, generator=torch.Generator().manual_seed(0)), torch.ones(2, 3)
    half = relative_transforms(pose.to(dtype), joints.to(dtype), (-1, 0))
    assert half.dtype == dtype
    torch.testing.assert_close(half.float(), relative_transforms(pose, joints, (-1, 0)), atol=0.05, rtol=0)


def test_wrong_arguments_are_said() -> None:
    pose, joints = torch.zeros(2, 3), torch.zeros(2, 3)
    for arguments, words in (
        ((pose[:, :2], joints, (-1, 0)), "pose and joints must be"),
        ((pose, joints[:1], (-1, 0)), "pose and joints must be"),
        ((pose, joints, (-1, 0, 1)), "for as many parents"),
        ((pose, joints.to("meta"), (-1, 0)), "one device"),
        ((pose.expand(2, 2, 3), joints.expand(3, 2, 3), (-1, 0)), "broadcastable"),
    ):
        with pytest.raises(ValueError, match=words):
            relative_transforms(*arguments)
    with pytest.raises(ValueError, match=r"\[\.\.\., 3\]"):
        axis_angle_to_matrix(torch.zeros(4))


@native
def test_a_child_before_its_parent_is_said() -> None:
    with pytest.raises(ValueError, match="an earlier joint"):
        relative_transforms(torch.zeros(2, 3), torch.zeros(2, 3), (1, -1))


@gpu
@pytest.mark.gpu
def test_cuda_is_native() -> None:
    random = torch.Generator().manual_seed(0)
    pose, joints = torch.randn(50, 24, 3, generator=random), torch.randn(50, 24, 3, generator=random)
    results = []
    for device in ("cpu", "cuda"):
        inputs = pose.to(device).requires_grad_(), joints.to(device).requires_grad_()
        value = relative_transforms(*inputs, SMPL_PARENTS) + axis_angle_to_matrix(inputs[0]).sum()
        results.append([part.detach().cpu() for part in (value, *gradients(value, inputs))])
    for one, two in zip(*results, strict=True):
        torch.testing.assert_close(one, two, atol=1e-4 * float(one.abs().max()), rtol=0)
