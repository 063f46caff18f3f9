"""Rotations, chains and skinning: exact where they can be, differentiable everywhere."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from avatar_core.body import load_body
from avatar_core.body.kinematics import axis_angle_to_matrix, relative_transforms
from avatar_core.body.pose_offsets import pose_features, pose_offsets
from avatar_core.cuda.skin import blend, skin_points, unskin_points
from blend_templates.motions import load_motion

PARENTS = (-1, 0, 1, 2, 1)


def random_chain(seed: int = 0, batch: tuple[int, ...] = ()) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    pose = torch.randn(*batch, 5, 3, generator=generator, dtype=torch.float64)
    joints = torch.randn(5, 3, generator=generator, dtype=torch.float64)
    return pose, joints


def test_a_quarter_turn_about_y_takes_z_to_x() -> None:
    rotation = axis_angle_to_matrix(torch.tensor([0.0, np.pi / 2, 0.0], dtype=torch.float64))
    torch.testing.assert_close(rotation @ torch.tensor([0.0, 0, 1]).double(), torch.tensor([1.0, 0, 0]).double())


@pytest.mark.parametrize("angle", [0.0, 1e-8, 1e-4, 0.01, 1.0, 3.0, 3.14159, 6.0])
def test_rotations_are_rotations_at_any_angle(angle: float) -> None:
    axis = torch.tensor([0.6, -0.48, 0.64], dtype=torch.float64)
    rotation = axis_angle_to_matrix(axis * angle)
    torch.testing.assert_close(rotation @ rotation.mT, torch.eye(3).double(), atol=1e-12, rtol=0)
    torch.testing.assert_close(rotation, torch.linalg.matrix_exp(_cross(axis * angle)), atol=1e-9, rtol=0)


def test_gradients_of_rotations_exist_at_rest() -> None:
    rest = torch.zeros(2, 3, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(axis_angle_to_matrix, rest)
    assert torch.autograd.gradgradcheck(axis_angle_to_matrix, rest)


def test_chains_compose_from_the_root_down() -> None:
    pose, joints = random_chain()
    transforms = relative_transforms(pose, joints, PARENTS, torch.tensor([1.0, 2, 3]).double())
    rotations = axis_angle_to_matrix(pose)
    world: list[torch.Tensor] = []
    for j, parent in enumerate(PARENTS):
        local = torch.eye(4).double()
        local[:3, :3], local[:3, 3] = rotations[j], joints[j] - (joints[parent] if parent >= 0 else 0)
        world.append(local if parent < 0 else world[parent] @ local)
    for j in range(5):
        expected = world[j][:3, 3] + torch.tensor([1.0, 2, 3])
        got = transforms[j, :3, :3] @ joints[j] + transforms[j, :3, 3]
        torch.testing.assert_close(got, expected)
        torch.testing.assert_close(transforms[j, :3, :3], world[j][:3, :3])


def test_batches_equal_single_poses() -> None:
    pose, joints = random_chain(1, (2, 3))
    transl = torch.randn(2, 3, 3).double()
    together = relative_transforms(pose, joints, PARENTS, transl)
    assert together.shape == (2, 3, 5, 4, 4)
    torch.testing.assert_close(together[1, 2], relative_transforms(pose[1, 2], joints, PARENTS, transl[1, 2]))
    shapes = joints + torch.randn(2, 3, 5, 3).double()
    torch.testing.assert_close(
        relative_transforms(pose[0, 0], shapes, PARENTS)[1, 0],
        relative_transforms(pose[0, 0], shapes[1, 0], PARENTS),
    )


def test_gradients_of_kinematics_and_skinning() -> None:
    pose, joints = random_chain(2)
    points, weights = torch.randn(4, 3).double(), torch.rand(4, 5).double().softmax(1)

    def posed(pose: torch.Tensor, joints: torch.Tensor, points: torch.Tensor) -> torch.Tensor:
        return skin_points(points, weights, relative_transforms(pose, joints, PARENTS))

    def unposed(pose: torch.Tensor, joints: torch.Tensor, points: torch.Tensor) -> torch.Tensor:
        return unskin_points(points, weights, relative_transforms(pose, joints, PARENTS))

    inputs = tuple(x.clone().requires_grad_() for x in (pose * 0.3, joints, points))
    assert torch.autograd.gradcheck(posed, inputs)
    assert torch.autograd.gradcheck(unposed, inputs)


def test_inverse_skinning_undoes_skinning_in_all_our_motions() -> None:
    body = load_body()
    rest, weights = torch.from_numpy(body.vertices), torch.from_numpy(body.weights)
    for name, frame in (("squat", 28), ("jump", 20), ("wave", 30), ("walk", 4)):
        motion = load_motion(name)
        transforms = relative_transforms(
            torch.from_numpy(motion.pose[frame]),
            torch.from_numpy(body.joints()),
            body.parents,
            torch.from_numpy(motion.transl[frame]),
        )
        back = unskin_points(skin_points(rest, weights, transforms), weights, transforms)
        assert (back - rest).norm(dim=1).max() < 1e-5  # metres


def test_inverse_skinning_stays_finite_where_rotations_cancel() -> None:
    half_turn = torch.tensor([[0.0, 0, 0], [np.pi, 0, 0]], dtype=torch.float64)
    joints = torch.zeros(2, 3, dtype=torch.float64)
    transforms = relative_transforms(half_turn, joints, (-1, 0)).requires_grad_()
    weights = torch.tensor([[0.5, 0.5], [1.0, 0.0]], dtype=torch.float64)
    points = torch.tensor([[0.1, 0.2, 0.3], [0.1, 0.2, 0.3]], dtype=torch.float64)
    back = unskin_points(points, weights, transforms)
    assert back.isfinite().all() and back.norm(dim=1).max() < 1
    torch.testing.assert_close(back[1], points[1])  # and a point that is not there is not disturbed
    back.sum().backward()
    assert transforms.grad is not None and transforms.grad.isfinite().all()


def test_inverse_skinning_of_batches_with_lost_points() -> None:
    half_turn = torch.tensor([[[0.0, 0, 0], [angle, 0, 0]] for angle in (np.pi, 0.3)], dtype=torch.float64)
    transforms = relative_transforms(half_turn, torch.zeros(2, 3).double(), (-1, 0))
    weights, points = torch.full((3, 2), 0.5).double(), torch.randn(3, 3).double()
    together = unskin_points(points, weights, transforms)
    assert together.shape == (2, 3, 3)
    for one, both in zip(transforms, together):
        torch.testing.assert_close(unskin_points(points, weights, one), both)


def test_chains_first_used_without_gradients_work_with_them_later() -> None:
    pose, joints = random_chain(4)
    parents = (-1, 0, 0, 0, 3)
    with torch.inference_mode():
        relative_transforms(pose, joints, parents)
    pose.requires_grad_()
    relative_transforms(pose, joints, parents).sum().backward()
    assert pose.grad is not None


def test_blended_transforms_of_one_joint_are_that_joint() -> None:
    transforms = relative_transforms(*random_chain(3), PARENTS)
    torch.testing.assert_close(blend(torch.eye(5).double(), transforms), transforms)


def test_pose_offsets_are_zero_at_rest_and_keep_bent_knees_full() -> None:
    body = load_body()
    assert body.posedirs is not None
    posedirs, rest = torch.from_numpy(body.posedirs), torch.from_numpy(body.vertices)
    pose = torch.zeros(24, 3)
    assert pose_offsets(pose, posedirs).abs().max() == 0
    assert pose_features(pose).shape == (207,)
    pose[body.joint_names.index("left_knee"), 0] = 2.0
    transforms = relative_transforms(pose, torch.from_numpy(body.joints()), body.parents)
    weights = torch.from_numpy(body.weights)
    plain = skin_points(rest, weights, transforms)
    corrected = skin_points(rest + pose_offsets(pose, posedirs), weights, transforms)
    volumes = [_volume(v, body.faces) for v in (rest, plain, corrected)]
    assert volumes[1] < volumes[2] < volumes[0]


def test_pose_offsets_are_linear_in_the_features() -> None:
    pose = torch.randn(3, 4, 3)
    posedirs = torch.randn(7, 3, 27)
    expected = torch.einsum("bf,vcf->bvc", pose_features(pose), posedirs)
    torch.testing.assert_close(pose_offsets(pose, posedirs), expected)


def _volume(vertices: torch.Tensor, faces: np.ndarray) -> float:
    a, b, c = vertices[torch.from_numpy(faces).long()].unbind(1)
    return float((a * b.cross(c, dim=1)).sum() / 6)


def _cross(axis: torch.Tensor) -> torch.Tensor:
    x, y, z = axis.tolist()
    return torch.tensor([[0, -z, y], [z, 0, -x], [-y, x, 0]], dtype=torch.float64)
