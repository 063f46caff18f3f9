"""A real actor in a real worker: what arrives in Blender is what avatar_core gives, bit for bit."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from avatar_core.actor import Actor, describe
from avatar_core.body import load_body
from avatar_core.camera import Camera
from avatar_core.controls import Controls
from avatar_core.methods.neural_actor.config import Config
from avatar_core.methods.neural_actor.model import Model
from avatar_core.worker.client import Reply, Worker, WorkerError

ROOT = Path(__file__).resolve().parents[2]
WORKER = f"import sys; sys.path.insert(0, {str(ROOT)!r}); from avatar_core.worker.__main__ import main; main()"
CAMERA = Camera.look_at(np.array([0.3, 1.0, 3.0]), np.array([0, 0.9, 0]), 0.7, 40, 30)


@pytest.fixture(scope="module")
def actor_path(tmp_path_factory) -> Path:
    """An actor that has learnt nothing: a mist around the free body."""
    body = load_body()
    model = Model(Config(levels=4, log2_table=10, finest_resolution=64, code=8, hidden=16), body)
    path = tmp_path_factory.mktemp("real") / "mist.actor"
    Actor(model, body, describe("neural_actor", model, body, {}, "CC0-1.0")).save(path)
    return path


@pytest.fixture(scope="module")
def actor(actor_path) -> Actor:
    return Actor.load(actor_path)


@pytest.fixture(scope="module")
def ask(actor_path):
    worker = Worker([sys.executable, "-I", "-c", WORKER])

    def request(kind: str, poll=None, **fields: Any) -> Reply:
        return worker.request({"type": kind, "actor": str(actor_path), **fields}, poll)

    yield request
    worker.close()


def controls_of(actor: Actor) -> Controls:
    controls = actor.schema.neutral()
    controls.pose[16] = [0, 0, -0.9]
    controls.transl[0] = 0.1
    return controls


def test_a_frame_is_the_one_that_avatar_core_renders(ask, actor):
    controls = controls_of(actor)
    frame = actor.render(controls, CAMERA, "draft")
    planes = Worker.full(ask("render", controls=controls.to_dict(), camera=CAMERA.to_dict(), quality="draft"))
    covered = planes["mask"] > 0
    assert covered.any() and not covered.all()
    assert np.array_equal(planes["rgba"], frame.rgba) and np.array_equal(planes["mask"], frame.mask)
    assert np.array_equal(planes["depth"][covered], frame.depth[covered])
    assert np.array_equal(planes["normal"][covered], frame.normal[covered])


def test_esc_stops_a_large_frame_within_half_a_second(ask, actor):
    large = CAMERA.scaled(60).to_dict()
    pressed = time.monotonic() + 0.5
    with pytest.raises(WorkerError) as caught:
        ask("render", lambda: time.monotonic() > pressed, controls={}, camera=large, quality="final")
    assert caught.value.kind == "cancelled" and time.monotonic() - pressed < 0.5
    began = time.monotonic()
    ask("proxy", controls={})
    assert time.monotonic() - began < 2, "the worker itself stopped as well"


def test_the_rig_is_built_from_the_actors_own_body(ask, actor):
    reply, body = ask("body"), actor.body
    for name in ("vertices", "faces", "uv", "face_uv", "weights", "parents", "shapedirs", "expressions"):
        assert np.array_equal(reply.planes[name], getattr(body, name)), name
    assert np.allclose(reply.planes["joints"], body.joints(), atol=1e-6)
    assert reply.header["joint_names"] == list(body.joint_names)
    assert len(reply.header["expression_names"]) == reply.planes["expressions"].shape[2]


def test_the_stand_in_is_the_posed_body(ask, actor):
    controls = controls_of(actor)
    vertices, faces = actor.proxy_mesh(controls)
    reply = ask("proxy", controls=controls.to_dict())
    assert np.array_equal(reply.planes["vertices"], vertices) and np.array_equal(reply.planes["faces"], faces)


def test_load_brings_what_the_panel_shows(ask, actor):
    header = ask("load").header
    assert header["schema"] == actor.schema.to_dict() and header["limbs"] == []
    assert header["metadata"]["licence"] == "CC0-1.0" and header["metadata"]["method"] == "neural_actor"


@pytest.mark.parametrize(
    "fields, words",
    [
        ({"quality": "best"}, "unknown quality 'best'"),
        ({"controls": {"pose": [[0, 0, 0]] * 5}}, "control 'pose'"),
        ({"controls": {"appearance": [1]}}, "no control 'appearance'"),
    ],
)
def test_what_the_actor_cannot_take_is_a_sentence(ask, fields, words):
    with pytest.raises(WorkerError) as caught:
        ask("render", **{"controls": {}, "camera": CAMERA.to_dict(), "quality": "draft", **fields})
    assert caught.value.kind == "bad_input" and words in caught.value.message


def test_a_file_that_only_pretends_to_be_an_actor_is_a_sentence(ask, tmp_path):
    path = tmp_path / "broken.actor"
    path.write_bytes(b"\x80\x04pickle")
    with pytest.raises(WorkerError) as caught:
        ask("load", **{"actor": str(path)})
    assert caught.value.kind == "bad_input" and "broken.actor" in caught.value.message


def test_a_recorded_motion_comes_for_the_actors_joints(ask, actor, tmp_path):
    file = tmp_path / "walk.npz"
    np.savez(file, poses=np.full((3, 66), 0.1), trans=np.zeros((3, 3)), mocap_frame_rate=120)
    reply = ask("motion", path=str(file), betas=[0.5])
    assert reply.header["fps"] == 120
    assert reply.planes["pose"].shape == (3, len(actor.schema.joints), 3)
    assert np.allclose(reply.planes["pose"][:, 1:22], 0.1) and not reply.planes["pose"][:, 22:].any()


@pytest.mark.parametrize(
    ("fields", "kind", "said"),
    [({"up": "x"}, "bad_input", "no axis"), ({"path": "/nowhere.npz"}, "absent_motion", "/nowhere.npz")],
)
def test_a_motion_that_cannot_be_read_is_refused_with_a_sentence(ask, fields, kind, said):
    with pytest.raises(WorkerError, match=said) as caught:
        ask("motion", **{"path": "a.npz", **fields})
    assert caught.value.kind == kind
