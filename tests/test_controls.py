"""A schema takes what it names and refuses the rest by name."""

from __future__ import annotations

import numpy as np
import pytest

from avatar_core.controls import ControlError, Controls, ControlSchema

SCHEMA = ControlSchema(
    joints=("root", "arm"),
    betas=2,
    expressions=("smile",),
    latents={"z": 3},
    shape_keys={"smile": ("left", "right")},
)


def test_what_is_missing_is_at_rest() -> None:
    full = SCHEMA.check(Controls(transl=np.array([1, 2, 3])))
    assert full.pose.shape == (2, 3) and not full.pose.any()
    assert full.latents["z"].shape == (3,)
    assert np.array_equal(full.transl, [1, 2, 3])


def test_round_trips() -> None:
    controls = SCHEMA.check(Controls(pose=np.ones((2, 3)), betas=np.array([0.5, -1])))
    again = SCHEMA.check(Controls.from_dict(controls.to_dict()))
    assert np.array_equal(again.pose, controls.pose) and np.array_equal(again.betas, controls.betas)
    assert ControlSchema.from_dict(SCHEMA.to_dict()) == SCHEMA


@pytest.mark.parametrize(
    "controls, words",
    [
        (Controls(pose=np.ones((3, 3))), "'pose' must have shape"),
        (Controls(betas=np.array([np.nan, 0])), "'betas' holds NaN"),
        (Controls(appearance=np.ones(4)), "no control 'appearance'"),
        (Controls(latents={"w": np.ones(3)}), "no latent 'w'"),
        (Controls(head=np.eye(4)), "no control 'head'"),
    ],
)
def test_wrong_controls_are_refused_by_name(controls: Controls, words: str) -> None:
    with pytest.raises(ControlError, match=words):
        SCHEMA.check(controls)


@pytest.mark.parametrize(
    "data, words", [([], "object"), ({"pos": []}, "unknown control 'pos'"), ({"pose": ["a"]}, "numbers")]
)
def test_messages_that_are_no_controls_are_refused(data, words: str) -> None:
    with pytest.raises(ControlError, match=words):
        Controls.from_dict(data)
