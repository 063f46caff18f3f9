"""The clips stand on the ground, loop, and look like what they are called."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from avatar_core.body import BodyFileError, load_body
from avatar_core.body.kinematics import relative_transforms
from avatar_core.cuda.skin import skin_points
from blend_templates.motions import MOTIONS, load_motion


def lowest(name: str) -> np.ndarray:
    """[T] y of the lowest vertex."""
    body, motion = load_body(), load_motion(name)
    transforms = relative_transforms(
        torch.from_numpy(motion.pose),
        torch.from_numpy(body.joints()),
        body.parents,
        torch.from_numpy(motion.transl),
    )
    rest, weights = torch.from_numpy(body.vertices), torch.from_numpy(body.weights)
    return np.array([float(skin_points(rest, weights, frame)[:, 1].min()) for frame in transforms])


@pytest.mark.parametrize("name", sorted(MOTIONS))
def test_motions_stand_on_the_ground(name: str) -> None:
    heights = lowest(name)
    assert heights.min() == pytest.approx(0, abs=1e-4)
    assert heights.max() < (0.35 if name == "jump" else 1e-4)
    if name == "jump":
        assert heights.max() > 0.3


@pytest.mark.parametrize("name", sorted(MOTIONS))
def test_motions_loop(name: str) -> None:
    motion = load_motion(name)
    steps = np.abs(np.diff(motion.pose, axis=0)).max()
    assert 0.02 < steps < 0.4  # radians a frame: it moves, and never jerks
    assert np.abs(motion.pose[0] - motion.pose[-1]).max() <= steps * 1.01
    assert (
        np.abs(motion.transl[0] - motion.transl[-1]).max() <= np.abs(np.diff(motion.transl, axis=0)).max() * 1.01 + 1e-3
    )


def test_a_walk_swings_one_leg_after_the_other() -> None:
    motion, names = load_motion("walk"), load_body().joint_names
    left, right = (motion.pose[:, names.index(f"{side}_hip"), 0] for side in ("left", "right"))
    np.testing.assert_allclose(left, np.roll(right, len(left) // 2), atol=1e-5)
    knee = np.degrees(motion.pose[:, names.index("left_knee"), 0])
    assert 45 < knee.max() < 65 and knee.min() > -1  # the range of level walking; knees never bend backwards


def test_motions_fit_bodies_with_more_joints() -> None:
    import dataclasses

    body = load_body()
    extra = dataclasses.replace(
        body,
        joint_names=(*body.joint_names, "tail"),
        parents=np.append(body.parents, 0),
        weights=np.pad(body.weights, ((0, 0), (0, 1))),
        regressor=np.concatenate([body.regressor, body.regressor[:1]]),
        posedirs=None,
    )
    motion = load_motion("squat", extra)
    assert motion.pose.shape == (60, 25, 3) and not motion.pose[:, 24].any()
    np.testing.assert_allclose(motion.transl, load_motion("squat").transl, atol=1e-5)


def test_unknown_motions_are_named() -> None:
    with pytest.raises(BodyFileError, match="no motion 'moonwalk'; there are walk"):
        load_motion("moonwalk")
