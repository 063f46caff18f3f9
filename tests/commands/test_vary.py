"""Shots of new people."""

from __future__ import annotations

import numpy as np
import pytest

from avatar_core.commands.vary import vary
from avatar_core.controls import Controls, ControlSchema
from avatar_core.errors import AvatarError

SCHEMA = ControlSchema(joints=("root",), betas=10, latents={"shape": 3, "detail": 2})
POSES = [Controls(pose=np.full((1, 3), turn, np.float32)) for turn in (0.1, 0.2, 0.3)]


def test_samples_are_normal_and_the_same_for_a_seed() -> None:
    first, again, other = (vary(SCHEMA, "sample", 400, seed, POSES) for seed in (1, 1, 2))
    shapes = np.array([frame.latents["shape"] for frame in first])
    np.testing.assert_allclose(shapes.mean(0), 0, atol=0.2)
    np.testing.assert_allclose(shapes.std(0), 1, atol=0.15)
    np.testing.assert_array_equal(shapes, [frame.latents["shape"] for frame in again])
    assert np.abs(shapes - [frame.latents["shape"] for frame in other]).max() > 0.5
    np.testing.assert_array_equal(first[4].pose, POSES[1].pose)
    for frame in first[:3]:
        SCHEMA.check(frame)


def test_one_latent_moves_evenly_between_people() -> None:
    frames = vary(SCHEMA, "detail", 25, 0, POSES)
    codes = np.array([frame.latents["detail"] for frame in frames])
    assert all("shape" not in frame.latents for frame in frames)
    np.testing.assert_allclose(np.diff(codes[:11], axis=0, n=2), 0, atol=1e-5)
    assert np.abs(codes[10] - codes[0]).max() > 0.1


def test_betas_go_to_both_sides() -> None:
    values = [frame.betas[0] for frame in vary(SCHEMA, "betas", 41, 0, POSES)]
    assert (values[0], values[10], values[20], values[30], values[40]) == (0, -2, 0, 2, 0)


def test_what_an_actor_does_not_have() -> None:
    with pytest.raises(AvatarError, match="cannot vary 'hair'; it can vary sample, blend, shape, detail, betas"):
        vary(SCHEMA, "hair", 3, 0, POSES)
    with pytest.raises(AvatarError, match="nothing"):
        vary(ControlSchema(), "sample", 3, 0, POSES)
