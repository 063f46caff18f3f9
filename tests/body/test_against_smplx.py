"""Our kinematics and skinning give what the reference implementation gives on the same file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from smpl_files import smpl_entries, smplx_entries, write_pkl

from avatar_core.body import load_body
from avatar_core.body.files import read_body
from avatar_core.body.kinematics import relative_transforms
from avatar_core.body.model import Body
from avatar_core.body.pose_offsets import pose_offsets
from avatar_core.cuda.skin import skin_points
from blend_templates.motions import load_motion

smplx = pytest.importorskip("smplx")


def posed(body: Body, pose: np.ndarray, transl: np.ndarray, betas: np.ndarray, expression: np.ndarray) -> torch.Tensor:
    rotations = torch.tensor(pose, dtype=torch.float32)
    rest = torch.from_numpy(body.shaped(betas, expression))
    if body.posedirs is not None:
        rest = rest + pose_offsets(rotations, torch.from_numpy(body.posedirs))
    joints = torch.from_numpy(body.joints(betas, expression))
    transforms = relative_transforms(rotations, joints, body.parents, torch.tensor(transl, dtype=torch.float32))
    return skin_points(rest, torch.from_numpy(body.weights), transforms)


def row(values: np.ndarray) -> torch.Tensor:
    return torch.tensor(values.reshape(1, -1), dtype=torch.float32)


def test_smpl_bodies_move_like_the_reference(tmp_path: Path) -> None:
    file = write_pkl(tmp_path / "SMPL_NEUTRAL.pkl", smpl_entries(load_body()))
    ours, theirs = load_body(file), smplx.SMPL(str(file))
    betas = np.linspace(2, -2, 10)
    for name, frame in (("squat", 25), ("jump", 20), ("walk", 11)):
        motion = load_motion(name)
        pose, transl = motion.pose[frame], motion.transl[frame]
        with torch.no_grad():
            expected = theirs(
                betas=row(betas), global_orient=row(pose[:1]), body_pose=row(pose[1:]), transl=row(transl)
            )
        got = posed(ours, pose, transl, betas, np.zeros(0))
        assert (got - expected.vertices[0]).norm(dim=1).max() < 1e-5  # metres


def test_smplx_hands_jaw_eyes_and_expressions_move_like_the_reference(tmp_path: Path) -> None:
    file = tmp_path / "SMPLX_NEUTRAL.npz"
    np.savez(file, **smplx_entries(load_body()))
    ours = read_body(file, expressions=52)
    theirs = smplx.SMPLX(str(file), num_expression_coeffs=52, use_pca=False, flat_hand_mean=True)
    rng = np.random.default_rng(3)
    pose, transl = rng.normal(0, 0.3, (55, 3)), np.array([0.1, 1.2, -0.3])
    betas, expression = rng.normal(0, 1, 10), rng.uniform(0, 1, 52)
    with torch.no_grad():
        expected = theirs(
            betas=row(betas),
            expression=row(expression),
            global_orient=row(pose[:1]),
            body_pose=row(pose[1:22]),
            jaw_pose=row(pose[22]),
            leye_pose=row(pose[23]),
            reye_pose=row(pose[24]),
            left_hand_pose=row(pose[25:40]),
            right_hand_pose=row(pose[40:]),
            transl=row(transl),
        )
    got = posed(ours, pose, transl, betas, expression)
    assert (got - expected.vertices[0]).norm(dim=1).max() < 1e-5
