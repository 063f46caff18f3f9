"""A head in real Blenders: alone with alpha, and on a body whose head bone and shape keys it follows."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from blenders import Studio
from inside.values import JAW, SIZE, TILT
from test_blenders import STEP, direct, picture, requests

from avatar_core.actor import Actor, describe
from avatar_core.body import Body
from avatar_core.body.expressions import EXPRESSIONS
from avatar_core.body.stand_in import stand_in
from avatar_core.methods import npva
from avatar_core.methods.nerf_blendshape.fast import Config, Model

OPENED = EXPRESSIONS.index("jawOpen")
AHEAD = 0.03


@pytest.fixture(scope="session", params=["nerf_blendshape", "npva"])
def head(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An opaque ball of noise, 16 cm wide, to whose colours an open jaw adds others."""
    torch.manual_seed(0)
    model = _field() if request.param == "nerf_blendshape" else _points()
    path = tmp_path_factory.mktemp("head") / "noise.actor"
    document = describe(request.param, model, model.body, {"name": "noise"}, "CC0-1.0")
    Actor(model.eval(), model.body, document).save(path)
    return path


def _points() -> npva.Model:
    model = npva.Model(npva.Config(fine=False, features=4, width=16, opaque=True), _ball())
    v, u = torch.meshgrid(torch.linspace(0.02, 3.12, 256), torch.linspace(-3.14, 3.12, 256), indexing="ij")
    model.set_positions(80 * torch.stack([v.sin() * u.sin(), -v.cos(), -v.sin() * u.cos()]), 0.5)
    model.driver.weight.data[:, OPENED].normal_(0, 3)
    return model


def _ball() -> Body:
    edge = np.full(3, 0.08)
    return stand_in("noise", -edge, edge, "CC0-1.0")


def _field() -> Model:
    config = Config(levels=4, features=2, log2_size=8, finest=32, voxels=32, shift=-3.0)
    model = Model(config, _ball())
    model.field.tables.data.zero_()
    for table, size in ((0, 1.0), (OPENED + 1, 20.0)):
        model.field.tables.data[table].normal_(0, size)
    axis = (torch.arange(32) + 0.5) / 32 * 2 - 1
    places = torch.cartesian_prod(axis, axis, axis) * config.bound / config.scale
    model.hull.copy_((places.norm(dim=1) < 0.08).view(32, 32, 32))
    return model


@pytest.fixture(scope="session")
def asked(studio: Studio, head: Path) -> tuple[list[dict], dict]:
    """What the worker was asked for: the head alone, and on a body the body and the head; and the script's report."""
    inside = studio.folder / head.name
    inside.write_bytes(head.read_bytes())
    worker, log = studio.logged_worker("head")
    done = studio.script("head", str(inside), str(studio.actor), str(studio.folder), worker=worker)
    assert done.returncode == 0, done.stdout + done.stderr
    report = next(line for line in done.stdout.splitlines() if line.startswith("REPORT "))
    return requests(log), json.loads(report.removeprefix("REPORT "))


def test_alone_with_alpha(studio: Studio, head: Path, asked: tuple[list[dict], dict]) -> None:
    request, *_ = asked[0]
    turn = np.array(request["controls"]["head"])
    np.testing.assert_allclose(turn[:3, :3], _about_up(TILT), atol=1e-5)
    assert request["controls"]["expression"][OPENED] == pytest.approx(JAW)
    shown = picture(studio, "alone_", 1)
    np.testing.assert_allclose(shown, direct(Actor.load(head), request).rgba, atol=STEP)
    assert shown[..., 3].max() > 0.99 and (shown[..., 3] == 0).mean() > 0.3
    request["controls"]["expression"][OPENED] = 0.0
    assert np.abs(shown - direct(Actor.load(head), request).rgba).max() > 0.1


def test_on_a_body(studio: Studio, head: Path, asked: tuple[list[dict], dict]) -> None:
    """The head's layer covers the body's own head, and the body covers what is farther away."""
    (_, *both), report = asked
    (of_head,) = (request for request in both if "head" in request["controls"])
    (of_body,) = (request for request in both if "pose" in request["controls"])
    actor, body = Actor.load(head), Actor.load(studio.actor)
    turn = np.array(of_head["controls"]["head"])
    np.testing.assert_allclose(turn[:3, :3], _about_up(TILT), atol=1e-5)
    assert of_head["controls"]["expression"][OPENED] == pytest.approx(JAW)
    assert report["driven"] == 48 and "'tiny' is a whole body" in report["said"]
    held = body.body.weights[:, body.body.joint_names.index("head")] > 0.5
    middle = body.body.vertices[held]
    middle = (middle.min(0) + middle.max(0)) / 2
    pivot = body.body.joints()[body.body.joint_names.index("head")]
    wanted = _about_up(TILT) @ (middle - pivot) + pivot + [0.2, 0, -0.1]
    np.testing.assert_allclose(turn[:3, 3], wanted, atol=2e-3)
    one, two = direct(actor, of_head), direct(body, of_body)
    first = (one.depth - AHEAD < two.depth)[..., None]
    near, far = np.where(first, one.rgba, two.rgba), np.where(first, two.rgba, one.rgba)
    shown = picture(studio, "on_body_", 1)
    np.testing.assert_allclose(shown, near + (1 - near[..., 3:]) * far, atol=STEP)
    assert shown.shape[:2] == SIZE[::-1] and (two.mask > 0.5).sum() > (one.mask > 0.5).sum() > 100


def _about_up(angle: float) -> np.ndarray:
    """[3, 3] about y."""
    sine, cosine = np.sin(angle), np.cos(angle)
    return np.array([[cosine, 0, sine], [0, 1, 0], [-sine, 0, cosine]])
