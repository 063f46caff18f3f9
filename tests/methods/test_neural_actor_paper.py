"""A released checkpoint becomes an actor that follows SMPL's controls, and its picture is the published renderer's."""

from __future__ import annotations

import argparse
import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from avatar_core.actor import Actor
from avatar_core.body import load_body
from avatar_core.camera import Camera
from avatar_core.controls import Controls
from avatar_core.data.neural_actor import NeuralActorFolder, smpl_controls
from avatar_core.frame import EMPTY_DEPTH, linear_to_srgb
from avatar_core.methods.neural_actor.paper.geometry import to_world
from tests.command import avatar
from tests.conformance.weights import neural_actor

REFERENCE = Path(__file__).parents[1] / "data" / "reference"
FIXTURE = REFERENCE / "na_fixture"


@pytest.fixture(scope="module")
def released(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file in the published layout."""
    path = tmp_path_factory.mktemp("released") / "nerf_fixture.pt"
    mesh = NeuralActorFolder.open(FIXTURE).mesh
    body = {"vertices": mesh.vertices, "faces": mesh.faces, "face_uv": mesh.face_uv, "weights": mesh.weights}
    model = {}
    for name, (shape, kind, *_) in json.loads((REFERENCE / "na_state_dict.json").read_text()).items():
        short = name.removeprefix("encoder.")
        value = body[short] if short in body else neural_actor(name, tuple(shape), "")
        model[name] = torch.as_tensor(value).to(getattr(torch, kind.removeprefix("torch.")))
    torch.save({"args": argparse.Namespace(min_dis_eps=0.06), "model": model, "optimizer_history": []}, path)
    return path


@pytest.fixture(scope="module")
def actor(released: Path) -> Actor:
    output = released.with_name("released.actor")
    done = avatar("import", "neural_actor", str(released), "--data", str(FIXTURE), "--output", str(output))
    assert done.returncode == 0, done.stderr
    assert output.stat().st_size < 25e6
    return Actor.load(output)


def controls_of(actor: Actor, data: NeuralActorFolder, number: int) -> Controls:
    return actor.schema.check(smpl_controls(data.frames)[number])


def test_controls_pose_the_body_as_the_folder_does(actor: Actor) -> None:
    data = NeuralActorFolder.open(FIXTURE)
    for number, frame in enumerate(data.frames):
        mixed = np.einsum("vj,jab->vab", data.mesh.weights, frame.transforms)
        posed = (mixed[:, :3, :3] @ data.mesh.vertices[..., None])[..., 0] + mixed[:, :3, 3]
        wanted = to_world(*(torch.as_tensor(array) for array in (posed, frame.rotation, frame.translation)))
        found, _ = actor.proxy_mesh(controls_of(actor, data, number))
        np.testing.assert_allclose(found, wanted.numpy(), atol=2e-4)


def test_picture_is_the_published_one(actor: Actor) -> None:
    """Over white, pixel for pixel but for UV seams; half precision in the file."""
    data = NeuralActorFolder.open(FIXTURE)
    with np.load(REFERENCE / "na_reference.npz") as stored:
        x, y = stored["loader_uv"].reshape(2, -1).astype(int)
        wanted, missed = stored["render_colors"].reshape(-1, 3), stored["render_missed"].reshape(-1)
    camera = data.cameras[0]
    frame = actor.render(controls_of(actor, data, 0), camera, "preview")
    shown = (linear_to_srgb(frame.rgba[..., :3] / np.maximum(frame.rgba[..., 3:], 1e-6)) * frame.rgba[..., 3:])[y, x]
    np.testing.assert_allclose(frame.mask[y, x], 1 - missed, atol=0.05)
    full = (np.abs(wanted) <= 1).all(1)  # the file's display range
    over_white = shown * 2 - 1 + 2 * (1 - frame.mask[y, x][:, None])
    difference = np.abs(over_white - wanted)[full].max(1)
    assert np.mean(difference < 0.05) > 0.9 and np.median(difference) < 5e-3
    assert (frame.depth[frame.mask == 0] == EMPTY_DEPTH).all() and 1.5 < frame.depth[frame.mask > 0.9].min() < 4


def test_same_shape_gives_the_same_bits_and_another_another(actor: Actor, tmp_path: Path) -> None:
    """Offsets of the shape that was trained are none."""
    body = actor.body
    shapes = np.zeros((*body.vertices.shape, 1), np.float32)
    shapes[:, 0, 0] = 0.05 * np.sign(body.vertices[:, 0])
    model = actor._model
    data = NeuralActorFolder.open(FIXTURE)
    camera = data.cameras[0].scaled(0.4)
    before = actor.render(controls_of(actor, data, 0), camera, "draft")
    model.body, kept = replace(body, shapedirs=shapes), model.body
    schema, model.schema = model.schema, replace(model.schema, betas=1)
    try:
        same = actor.render(controls_of(actor, data, 0), camera, "draft")
        wider = actor.render(replace(controls_of(actor, data, 0), betas=np.ones(1, np.float32)), camera, "draft")
    finally:
        model.body, model.schema = kept, schema
    np.testing.assert_array_equal(same.rgba, before.rgba)
    assert (wider.mask > 0.5).sum() > (before.mask > 0.5).sum()


def test_each_pose_has_the_texture_of_the_nearest(actor: Actor) -> None:
    data, model = NeuralActorFolder.open(FIXTURE), actor._model
    for number, frame in enumerate(data.frames):
        with torch.inference_mode():
            found = model.textures(torch.as_tensor(frame.pose, dtype=torch.float32), torch.zeros(0, 3))
        torch.testing.assert_close(found, torch.as_tensor(data.texture(number)), atol=1 / 255, rtol=0)


def test_what_cannot_be_imported_is_said(released: Path, tmp_path: Path) -> None:
    output = tmp_path / "x.actor"
    bare = Path(shutil.copytree(FIXTURE, tmp_path / "bare"))
    shutil.rmtree(bare / "tex")
    evil = tmp_path / "evil.pt"
    torch.save({"args": Path("/tmp"), "model": {}}, evil)
    foreign = tmp_path / "foreign.pt"
    torch.save({"model": {"conv.weight": torch.zeros(1)}}, foreign)
    template = tmp_path / "body.npz"
    shutil.copy(Path(load_body.__code__.co_filename).parents[2] / "blend_templates" / "body.npz", template)
    for arguments, words in (
        ([str(evil), "--data", str(FIXTURE)], "evil.pt is no Neural Actor checkpoint"),
        ([str(foreign), "--data", str(FIXTURE)], "foreign.pt"),
        ([str(tmp_path / "none.pt"), "--data", str(FIXTURE)], "none.pt cannot be read"),
        ([str(released), "--data", str(bare)], "has no tex/"),
        ([str(released), "--data", str(tmp_path / "nowhere")], "nowhere is no folder"),
        ([str(released), "--data", str(FIXTURE), "--body", str(template)], "it is another mesh"),
    ):
        done = avatar("import", "neural_actor", *arguments, "--output", str(output))
        assert done.returncode == 2 and words in done.stderr, done.stderr
        assert len(done.stderr.strip().splitlines()) == 1 and not output.exists()


def test_camera_inside_and_behind(actor: Actor) -> None:
    for place in ([0, 0.9, 0.05], [0, 0.9, 3.0]):
        camera = Camera.look_at(np.array(place), np.array([0, 0.9, 9]), 0.7, 12, 12)
        frame = actor.render(actor.schema.neutral(), camera, "draft")
        assert np.isfinite(frame.rgba).all()
    assert not frame.mask.any()
