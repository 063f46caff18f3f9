"""A released checkpoint becomes people who are posed, shaped and varied."""

from __future__ import annotations

import json
import os
import sys
from argparse import ArgumentParser
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch

from avatar_core.actor import Actor
from avatar_core.body import load_body
from avatar_core.camera import Camera, CameraError
from avatar_core.cli import main
from avatar_core.commands import render
from avatar_core.controls import ControlError
from avatar_core.errors import AvatarError
from avatar_core.frame import EMPTY_DEPTH
from avatar_core.methods.gdna import checkpoint
from avatar_core.methods.gdna.field import Networks
from avatar_core.methods.gdna.rigging import relief
from tests.command import avatar

BODY = Path(__file__).parents[1] / "data" / "reference" / "smpl_synth.npz"
PEOPLE = 3


class Evil:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.system, (f"touch {self.path}",)


@pytest.fixture(scope="module")
def state() -> dict[str, torch.Tensor]:
    """Tensors of a released file of the fine stage, untrained: a ball around the pelvis."""
    torch.manual_seed(0)
    networks = Networks(4)
    networks.network.start_as_ball()
    with torch.no_grad():
        networks.network.lin4.bias.fill_(0.3)
        for number in range(9):  # normals that differ from code to code
            getattr(networks.norm_network, f"lin{number}").weight_g.mul_(3)
    tables = {name: 0.3 * torch.randn(PEOPLE, 64) for name in ("z_shapes.weight", "z_details.weight")}
    template = {checkpoint.TEMPLATE: torch.as_tensor(load_body(BODY).vertices)}
    return {name: value.detach() for name, value in networks.state_dict().items()} | tables | template


@pytest.fixture(scope="module")
def released(state: dict[str, torch.Tensor], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """As Lightning writes it: a class of its own is a key of a dictionary."""
    path = tmp_path_factory.mktemp("released") / "last.ckpt"
    name = "lightning_callbacks"
    module = ModuleType(name)
    module.Callback = type("Callback", (), {"__module__": name})  # type: ignore[attr-defined]
    sys.modules[name] = module
    torch.save({"epoch": 3, "state_dict": state, "callbacks": {module.Callback: {"best": None}}}, path)
    del sys.modules[name]
    return path


@pytest.fixture(scope="module")
def actor(released: Path) -> Actor:
    output = released.with_name("people.actor")
    done = avatar("import", "gdna", str(released), "--body", str(BODY), "--output", str(output))
    assert done.returncode == 0, done.stderr
    return Actor.load(output)


def camera_of(size: int = 24) -> Camera:
    return Camera.look_at(np.array([0, -0.28, 2]), np.array([0, -0.28, 0]), 0.5, size, size)


def test_checkpoint_is_imported_bit_for_bit(released: Path, state: dict[str, torch.Tensor], actor: Actor) -> None:
    found = checkpoint.read(released)
    assert found.frequencies == 4
    for name, value in found.networks.items():
        torch.testing.assert_close(value, state[name], rtol=0, atol=0)
    model: Any = actor._model
    for codes, table in ((model.shape, "z_shapes.weight"), (model.detail, "z_details.weight")):
        again = torch.stack([codes(one) for one in codes.people])
        torch.testing.assert_close(again, state[table], rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(codes.people.std(0), torch.ones(PEOPLE - 1), rtol=1e-4, atol=0)
    assert actor.schema.latents == {"shape": PEOPLE - 1, "detail": PEOPLE - 1} and actor.schema.betas == 10


def test_people_are_posed_and_lit(actor: Actor) -> None:
    rest, camera = actor.schema.neutral(), camera_of()
    still = actor.render(rest, camera, "final")
    seen = still.mask > 0.99
    assert 0.1 < seen.mean() < 0.9 and 1.6 < still.depth[seen].min() < 2.2
    assert (still.depth[still.mask == 0] == EMPTY_DEPTH).all()
    np.testing.assert_allclose(np.linalg.norm(still.normal[seen], axis=1), 1, atol=1e-4)
    np.testing.assert_array_equal(actor.render(rest, camera, "final").rgba, still.rgba)
    away = replace(rest, transl=np.array([0.1, 0.2, -0.3], np.float32))
    moved = actor.surface(away, 1).vertices - actor.surface(rest, 1).vertices
    np.testing.assert_allclose(moved, np.broadcast_to(away.transl, moved.shape), atol=1e-5)
    turned = rest.pose.copy()
    turned[0, 1] = np.pi
    about = actor.body.joints()[0]
    expected = (actor.surface(rest, 1).vertices - about) * [-1, 1, -1] + about
    np.testing.assert_allclose(actor.surface(replace(rest, pose=turned), 1).vertices, expected, atol=1e-4)
    assert len(actor.proxy_mesh(rest)[0]) == len(actor.body.vertices)


def test_codes_and_betas_change_the_person(actor: Actor) -> None:
    rest, camera = actor.schema.neutral(), camera_of()
    still, mesh = actor.render(rest, camera, "preview"), actor.surface(rest, 1)
    detailed = actor.render(replace(rest, latents={"detail": np.array([2, 0], np.float32)}), camera, "preview")
    np.testing.assert_array_equal(detailed.mask, still.mask)
    assert np.abs(detailed.rgba - still.rgba).max() > 1e-3
    betas = replace(rest, betas=np.array([3] + [0] * 9, np.float32))
    other = actor.surface(betas, 1)
    np.testing.assert_array_equal(other.faces, mesh.faces)
    assert np.abs(other.vertices - mesh.vertices).max() > 1e-4
    with pytest.raises(ControlError, match=r"latents\.shape"):
        actor.render(replace(rest, latents={"shape": np.zeros(9, np.float32)}), camera)
    with pytest.raises(CameraError, match="distortion"):
        actor.render(rest, replace(camera, distortion=np.array([0.1, 0, 0, 0])))


def test_what_cannot_be_imported_is_said(state: dict[str, torch.Tensor], tmp_path: Path) -> None:
    path, mark = tmp_path / "x.ckpt", tmp_path / "mark"
    torch.save({"state_dict": {}, "callbacks": Evil(mark)}, path)
    with pytest.raises(checkpoint.CheckpointError):
        checkpoint.read(path)
    assert not mark.exists()
    for change, words in (
        ({"network.lin0.bias": torch.zeros(7)}, r"must be float32 \(256,\), is float32 \(7,\)"),
        ({"network.lin0.bias": torch.full((256,), torch.nan)}, "holds NaN"),
        ({"z_details.weight": torch.zeros(PEOPLE, 63)}, "z_details"),
        ({"norm_network.lin0.weight_v": torch.zeros(256, 300)}, "no encoding"),
    ):
        with pytest.raises(checkpoint.CheckpointError, match=words):
            checkpoint.parse(state | change, path)
    torch.save({"state_dict": state | {checkpoint.TEMPLATE: state[checkpoint.TEMPLATE] + 0.02}}, path)
    done = avatar("import", "gdna", str(path), "--body", str(BODY), "--output", str(tmp_path / "x.actor"))
    assert done.returncode == 2 and "2.0 cm away" in done.stderr and len(done.stderr.strip().splitlines()) == 1


def test_people_are_varied_by_one_command(actor: Actor, released: Path, tmp_path: Path) -> None:
    file, size = str(released.with_name("people.actor")), ("--resolution", "32x32", "--quality", "draft")
    options = ("--vary", "sample", "--motion", "walk", "--count", "40", "--frames", "40", "--video", "25", *size)
    done = avatar("render", file, *options, "--output", str(tmp_path))
    assert done.returncode == 0, done.stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == ["0040.png", "color.mp4"]
    assert "it begins again" in done.stdout
    for words, *options in (
        ("--vary", "--count", "3"),
        ("'hair'", "--vary", "hair"),
        ("1 to", "--vary", "betas", "--count", "0"),
    ):
        parser = ArgumentParser()
        render.add_arguments(parser)
        with pytest.raises(AvatarError, match=words):
            render.read_shot_arguments(parser.parse_args([file, *options]), actor)


def test_codes_of_a_wrong_size_are_said(
    actor: Actor, released: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file, shot = str(released.with_name("people.actor")), tmp_path / "shot.json"
    for values, words in (({"latents": {"shape": [1.0]}}, "latents.shape"), ({"betas": [0.0] * 11}, "betas")):
        shot.write_text(json.dumps({"camera": camera_of().to_dict(), "frames": [values]}))
        assert main(["render", file, "--shot", str(shot), "--output", str(tmp_path / "frames")]) == 2
        error = capsys.readouterr().err
        assert words in error and len(error.splitlines()) == 1


def test_relief_raises_folds_to_their_normals() -> None:
    """A plane whose normals are those of waves 4 cm long and 2 mm high becomes those waves."""
    x, z = np.meshgrid(np.arange(60) * 0.004, np.arange(40) * 0.004, indexing="ij")
    plane = np.stack([x, np.zeros_like(x), z], -1).reshape(-1, 3)
    number = np.arange(60 * 40).reshape(60, 40)
    a, b, c, d = (part.ravel() for part in (number[:-1, :-1], number[1:, :-1], number[:-1, 1:], number[1:, 1:]))
    faces = np.concatenate([np.stack([a, c, b], 1), np.stack([b, c, d], 1)])
    turns = 2 * np.pi / 0.04
    waves, slope = 0.002 * np.sin(turns * plane[:, 0]), 0.002 * turns * np.cos(turns * plane[:, 0])
    normals = np.stack([-slope, np.ones_like(slope), np.zeros_like(slope)], 1)
    normals /= np.linalg.norm(normals, axis=1, keepdims=True)
    lifted = relief(plane, faces, np.broadcast_to([0.0, 1.0, 0.0], plane.shape), normals)
    assert not lifted[:, [0, 2]].any()
    np.testing.assert_allclose(lifted[:, 1], waves, atol=8e-4)
