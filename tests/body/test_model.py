"""The template, and the compact form that actor files and captures embed."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest

from avatar_core.body import Body, BodyFileError, load_body
from avatar_core.body.joints import SMPLX_PARENTS


def small_body(**changes: object) -> Body:
    """Two triangles on two joints."""
    values: dict = {
        "name": "small",
        "vertices": np.array([[0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0.0]]),
        "faces": np.array([[0, 1, 2], [0, 2, 3]]),
        "uv": np.zeros((0, 2)),
        "face_uv": np.zeros((0, 3), np.int32),
        "weights": np.array([[1, 0], [0.5, 0.5], [0, 1], [0, 1.0]]),
        "joint_names": ("root", "tip"),
        "parents": np.array([-1, 0]),
        "regressor": np.array([[1, 0, 0, 0], [0, 0, 1, 0.0]]),
    }
    return Body(**{**values, **changes})


def test_the_template_is_a_person() -> None:
    body = load_body()
    assert body.joint_names[:4] == ("pelvis", "left_hip", "right_hip", "spine1")
    assert len(body.joint_names) == 24 and len(body.expression_names) == 52 and body.shapedirs.shape[2] == 10
    assert 1.6 < np.ptp(body.vertices[:, 1]) < 1.75  # metres tall
    joints = dict(zip(body.joint_names, body.joints()))
    assert joints["left_hip"][0] > 0 > joints["right_hip"][0]  # its left is +x
    nose = body.vertices[body.vertices[:, 1] > joints["head"][1]][:, 2].max()
    assert nose > joints["head"][2] + 0.05  # it faces +z
    assert body.uv.min() >= 0 and body.uv.max() <= 1


def test_betas_change_height_and_move_joints() -> None:
    body = load_body()
    tall, short = (np.ptp(body.shaped(np.array([b]))[:, 1]) for b in (2.0, -2.0))
    assert tall - short > 0.2
    assert body.joints(np.array([2.0]))[15, 1] > body.joints()[15, 1] + 0.02
    np.testing.assert_allclose(body.joints(np.zeros(10)), body.joints())
    betas = np.linspace(-2, 2, 10)
    np.testing.assert_allclose(body.joints(betas), body.joints() + body.joint_shapedirs() @ betas, atol=1e-6)


def test_expressions_move_what_they_are_named_after() -> None:
    body = load_body()
    for name, low, high in (("jawOpen", 0.02, 0.06), ("eyeBlinkLeft", 0.004, 0.03)):
        expression = np.zeros(52)
        expression[body.expression_names.index(name)] = 1
        moved = np.linalg.norm(body.shaped(None, expression) - body.vertices, axis=1)
        assert low < moved.max() < high
    centre = body.vertices[moved > moved.max() / 2].mean(0)
    assert centre[0] > 0.01  # a left eye


def test_too_many_betas_are_refused() -> None:
    with pytest.raises(BodyFileError, match="10 betas, got 11"):
        load_body().shaped(np.zeros(11))


def test_packing_keeps_the_body() -> None:
    body = load_body()
    tensors, meta = body.to_tensors(), json.loads(json.dumps(body.meta()))
    assert sum(array.nbytes for array in tensors.values()) < 3e6
    back = Body.from_tensors(tensors, meta)
    assert back.topology_hash == body.topology_hash and back.licence == "CC0-1.0"
    for name in ("vertices", "faces", "uv", "face_uv", "parents", "regressor"):
        np.testing.assert_array_equal(getattr(back, name), getattr(body, name))
    for name, tolerance in (
        ("weights", 2e-5),
        ("shapedirs", 1e-5),
        ("expressions", 1e-5),
        ("posedirs", 1e-6),
    ):
        np.testing.assert_allclose(getattr(back, name), getattr(body, name), atol=tolerance)


def test_packing_any_rig() -> None:
    body = small_body()
    back = Body.from_tensors(body.to_tensors(), body.meta())
    assert back.posedirs is None and back.shapedirs.shape == (4, 3, 0) and back.expressions.shape == (4, 3, 0)
    np.testing.assert_allclose(back.weights, body.weights, atol=1e-5)
    np.testing.assert_allclose(back.joints(), [[0, 0, 0], [1, 1, 0]])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"faces": np.array([[0, 1, 4]])}, "'faces' points outside of its 4 points"),
        ({"weights": np.zeros((4, 3))}, "'weights' must be 4 x 2"),
        ({"weights": np.zeros((4, 2))}, "sum to 1"),
        ({"parents": np.array([-1, 1])}, "earlier joint"),
        ({"vertices": np.full((4, 3), np.nan)}, "finite"),
        ({"posedirs": np.zeros((4, 3, 18))}, "'posedirs' must be 4 x 3 x 9"),
        ({"expression_names": ("smile",)}, "'expressions' must be 4 x 3 x 1"),
    ],
)
def test_broken_bodies_are_refused(change: dict, message: str) -> None:
    with pytest.raises(BodyFileError, match=message):
        small_body(**change)


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("vertices", None, "lacks its tensor 'vertices'"),
        ("vertices", np.zeros((5, 3), np.float32), "'weights_joint' must be 5 x any"),
        ("weights_joint", np.full((4, 2), 9, np.uint16), "'weights_joint' points outside"),
        ("weights_value", np.zeros((4, 2), np.uint16), "without any skinning weight"),
        ("regressor_vertex", np.array([0, 77], np.int32), "'regressor_vertex' points outside"),
        ("faces", np.array([[0, 1, 3], [0, 2, 3]], np.uint16), "topology hash"),
        ("shapedirs_scale", np.zeros(100_000, np.float32), "100000 betas"),
        ("shapedirs", np.zeros((2, 4, 3), np.int16), "'shapedirs' must be 0 x 4 x 3"),
    ],
)
def test_damaged_embedded_bodies_are_refused(name: str, value: np.ndarray | None, message: str) -> None:
    body = small_body()
    tensors = {key: array for key, array in body.to_tensors().items() if key != name}
    if value is not None:
        tensors[name] = value
    with pytest.raises(BodyFileError, match=message):
        Body.from_tensors(tensors, body.meta())


@pytest.mark.parametrize("meta", [None, {}, {"name": "x", "joint_names": 3, "expression_names": [], "topology": ""}])
def test_damaged_headers_are_refused(meta: dict) -> None:
    with pytest.raises(BodyFileError, match="header"):
        Body.from_tensors(small_body().to_tensors(), meta)


def test_an_embedded_body_cannot_ask_for_the_whole_memory() -> None:
    body = small_body()
    tensors = body.to_tensors()
    tensors["vertices"] = np.zeros((900_000, 3), np.float32)
    meta = {**body.meta(), "joint_names": [f"j{i}" for i in range(1000)]}
    with pytest.raises(BodyFileError, match="too large"):
        Body.from_tensors(tensors, meta)


def test_topology_hash_tells_bodies_apart() -> None:
    body = small_body()
    assert dataclasses.replace(body, vertices=body.vertices * 2).topology_hash == body.topology_hash
    assert dataclasses.replace(body, joint_names=("root", "end")).topology_hash != body.topology_hash
    assert dataclasses.replace(body, faces=body.faces[::-1]).topology_hash != body.topology_hash


def test_finger_chains_hang_on_their_wrists() -> None:
    assert SMPLX_PARENTS[25:28] == (20, 25, 26)
    assert SMPLX_PARENTS[40:43] == (21, 40, 41)
    assert len(SMPLX_PARENTS) == 55
