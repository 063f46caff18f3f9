"""An actor whose texture map a network paints for each pose, in Blender: keys of pose and body shape change what it
paints and how it is posed, and a frame is the same however one comes to it."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from blenders import Studio
from test_blenders import STEP, direct, picture, requests

from avatar_core.actor import Actor, describe
from avatar_core.body import load_body
from avatar_core.controls import Controls
from avatar_core.methods.neural_actor.paper import Config, Model

SKY = np.array([0.2, 0.3, 0.8, 1], np.float32)


@pytest.fixture(scope="module")
def actor(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Untrained networks: opaque within centimetres of the body; maps that differ strongly from pose to pose."""
    torch.manual_seed(3)
    body = load_body()
    model = Model(Config(texture_size=32, encoder="compact", sampler="shell", reach=0.03), body)
    torch.nn.init.constant_(model.renderer.field.density_out.bias, 90.0)
    torch.nn.init.normal_(model.renderer.field.colour_out.weight, std=0.1)
    torch.nn.init.normal_(model.textures.out.weight, std=0.5)
    torch.nn.init.normal_(model.textures.mean, 0.5, 0.2)
    path = tmp_path_factory.mktemp("painted") / "painted.actor"
    Actor(model.eval(), body, describe("neural_actor_paper", model, body, {"name": "painted"}, "CC0-1.0")).save(path)
    return path


def test_pose_shape_and_map_follow_the_keys(studio: Studio, actor: Path) -> None:
    worker, log = studio.logged_worker("painted")
    file = Path(shutil.copy(actor, studio.folder))
    shots = {"painted": {"bare": True, "frames": 2, "render": True}}
    done = studio.script("shot", str(file), str(studio.folder), json.dumps(shots), worker=worker)
    assert done.returncode == 0, done.stdout + done.stderr
    shown, asked = [picture(studio, "painted_", frame) for frame in (1, 2)], requests(log)
    assert [request["controls"]["betas"][0] for request in asked] == [0, 1]
    loaded, unmoved = Actor.load(actor), Actor.load(actor)
    torch.nn.init.zeros_(unmoved._model.textures.out.weight)  # the same actor, whose map is the mean in every pose
    for image, request in zip(shown, asked):
        person = direct(loaded, request)
        np.testing.assert_allclose(image, person.rgba + (1 - person.rgba[..., 3:]) * SKY, atol=STEP)
        covered = person.mask > 0.9
        assert covered.sum() > 50
        assert np.abs(person.rgba - direct(unmoved, request).rgba)[covered].mean() > 2 * STEP
    maps = [loaded.texture(loaded.schema.neutral()), loaded.texture(Controls.from_dict(asked[1]["controls"]))]
    assert np.abs(maps[0] - maps[1]).mean() > 0.01
    assert np.abs(shown[0] - shown[1]).max() > 0.1
    blend = studio.folder / "painted.blend"
    done = studio.avatar(blend, "render", "--frames", "2-2", "--output", str(studio.folder / "painted_farm_####"))
    assert done.returncode == 0, done.stdout + done.stderr
    np.testing.assert_array_equal(picture(studio, "painted_farm_", 2), shown[1])  # without the frame before it
