"""The predicted texture follows the pose, also poses that it has not seen, and only what cameras saw counts."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from avatar_core.actor import Actor, describe
from avatar_core.body import Body, load_body
from avatar_core.camera import Camera
from avatar_core.methods.neural_actor.paper.config import Config
from avatar_core.methods.neural_actor.paper.dynamic_texture import TexturePredictor, texture_loss
from avatar_core.methods.neural_actor.paper.model import Model
from avatar_core.quality import Quality

SIZE = 32
ELBOW = 18  # of SMPL's joints


@pytest.fixture(scope="module")
def body() -> Body:
    return load_body()


def painted(body: Body, bend: float) -> tuple[Tensor, Tensor]:
    """A pose with a bent elbow, and its map: red rises with the bend, all over the upper half."""
    pose = torch.zeros(len(body.joint_names), 3)
    pose[ELBOW, 1] = bend
    image = torch.full((SIZE, SIZE, 3), 0.4)
    image[: SIZE // 2, :, 0] += 0.3 * bend
    return pose, image


def test_it_follows_poses_that_it_has_not_seen(body: Body) -> None:
    torch.manual_seed(0)
    predictor = TexturePredictor(body, SIZE)
    normals = torch.nn.functional.normalize(torch.tensor(body.vertices), dim=1)
    with torch.no_grad():
        predictor.mean.copy_(painted(body, 0.5)[1].permute(2, 0, 1))
    optimizer = torch.optim.Adam(predictor.parameters(), 1e-2)
    confidence = torch.ones(SIZE, SIZE)
    confidence[:, : SIZE // 4] = 0  # nobody sees this part; what stands there is wrong
    for bend in np.random.default_rng(0).permutation(np.linspace(0, 1, 11).repeat(9)):
        if abs(bend - 0.8) > 0.05:
            pose, image = painted(body, float(bend))
            image[:, : SIZE // 4] = float(torch.rand(()))
            optimizer.zero_grad()
            texture_loss(predictor(pose, normals), image, confidence).backward()
            optimizer.step()
    pose, image = painted(body, 0.8)
    with torch.no_grad():
        seen = (predictor(pose, normals) - image)[:, SIZE // 4 :]
    mean = (painted(body, 0.5)[1] - image)[:, SIZE // 4 :]
    assert seen.square().mean() < 0.25 * mean.square().mean()


def test_an_actor_with_a_predictor(body: Body, tmp_path: Path) -> None:
    """It is small, needs no maps, paints by the pose, and turning it repaints nothing."""
    torch.manual_seed(0)
    model = Model(Config(encoder="compact"), body).eval()
    torch.nn.init.normal_(model.textures.out.weight, std=0.05)
    actor = Actor(model, body, describe("neural_actor_paper", model, body, {}, "test"))
    actor.save(tmp_path / "x.actor")
    assert (tmp_path / "x.actor").stat().st_size < 20e6
    loaded = Actor.load(tmp_path / "x.actor")
    model = loaded._model

    def texture(bend: float, turn: float) -> Tensor:
        controls = loaded.schema.neutral()
        pose = controls.pose.copy()
        pose[ELBOW, 1], pose[0, 1] = bend, turn
        controls = replace(controls, pose=pose)
        with torch.inference_mode():
            return model.paint(model._picture(controls), controls)

    still, turned, bent = texture(0, 0), texture(0, 1.3), texture(1, 0)
    torch.testing.assert_close(turned, still, atol=2e-4, rtol=0)
    assert float((bent - still).abs().max()) > 1e-2
    camera = Camera.look_at(np.array([0, 0.2, 3.0]), np.array([0, 0.2, 0]), 0.8, 12, 12)
    one, again = (loaded.render(loaded.schema.neutral(), camera, "draft") for _ in range(2))
    np.testing.assert_array_equal(one.rgba, again.rgba)


@pytest.mark.parametrize("sampler", ["published", "shell"])
def test_a_frame_is_the_same_on_any_number_of_threads(body: Body, sampler: str) -> None:
    torch.manual_seed(1)
    model = Model(Config(texture_size=64, encoder="compact", sampler=sampler), body).eval()
    torch.nn.init.normal_(model.textures.out.weight, std=0.3)
    torch.nn.init.constant_(model.renderer.field.density_out.bias, 50.0)
    pose = replace(model.schema.neutral(), pose=model.schema.neutral().pose + np.float32(0.3))
    camera = Camera.look_at(np.array([0, 0.2, 3.0]), np.array([0, 0.2, 0]), 0.8, 12, 12)
    threads, frames = torch.get_num_threads(), []
    try:
        for count in (1, 2, 5):
            torch.set_num_threads(count)
            model._folded = None
            frames.append(model.render(pose, camera, Quality(0.008, 1.0, 0.002)).rgba)
    finally:
        torch.set_num_threads(threads)
    assert frames[0][..., 3].max() > 0.9
    np.testing.assert_array_equal(frames[1], frames[0])
    np.testing.assert_array_equal(frames[2], frames[0])


def test_sizes_that_do_not_fit_are_said(body: Body) -> None:
    with pytest.raises(ValueError, match="multiple of 16 texels a side, got 40"):
        TexturePredictor(body, 40)
