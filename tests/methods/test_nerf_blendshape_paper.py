"""A released checkpoint becomes a head that follows expressions, a head's pose and a camera."""

from __future__ import annotations

import collections
import re
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from avatar_core.actor import Actor
from avatar_core.body.expressions import EXPRESSIONS, from_shape_keys
from avatar_core.camera import Camera
from avatar_core.controls import ControlError, Controls
from avatar_core.data.nerf_blendshape import HeadFolder
from avatar_core.errors import AvatarError
from avatar_core.frame import EMPTY_DEPTH
from avatar_core.methods.nerf_blendshape.compact import PRINCIPAL, compacted
from avatar_core.methods.nerf_blendshape.field import Field
from avatar_core.methods.nerf_blendshape.paper import Config, checkpoint
from avatar_core.methods.nerf_blendshape.paper.importer import read_ranges
from tests.command import avatar

FIXTURE = Path(__file__).parents[1] / "data" / "reference" / "nbs_fixture"
JAW = EXPRESSIONS.index("jawOpen")


@pytest.fixture(scope="module")
def state() -> dict[str, torch.Tensor]:
    """Tensors of a released file: noise that is opaque in a ball, and where one expression makes it denser."""
    torch.manual_seed(0)
    with torch.device("meta"):
        field = Field(Config())
    rows, channels = field.tables.shape[1:]
    axis = torch.linspace(-1, 1, Config().resolution)
    ball = torch.cartesian_prod(axis, axis, axis).norm(dim=1).view((Config().resolution,) * 3) < 0.6
    bases = torch.zeros(len(EXPRESSIONS), rows, channels)
    bases[JAW].normal_()
    nets = {name: torch.randn(size) * 0.2 for name, size in (("sigma", 21504), ("color", 6144))}
    nets["sigma"][-80 * 64 :][:64] = nets["sigma"][-80 * 64 :][:64].abs() * 3000  # the row that gives density
    return {
        "density_grid": ball * 50.0,
        "step_counter": torch.zeros(64, 2, dtype=torch.int32),
        "encoder.embeddings_mean": torch.randn(1, rows, channels),
        "encoder.embeddings": bases,
        "encoder.offsets": torch.tensor([*field.spec.offsets, field.spec.parameters], dtype=torch.int32),
        "sigma_net.params": nets["sigma"],
        "encoder_dir.params": torch.zeros(0),
        "color_net.params": nets["color"],
    }


@pytest.fixture(scope="module")
def released(state: dict[str, torch.Tensor], tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("released") / "ngp_20000.pth.tar"
    milestones = {"milestones": collections.Counter([40, 100]), "gamma": 0.33}
    torch.save({"epoch": 3, "global_step": 20000, "lr_scheduler": milestones, "model": state}, path)
    return path


@pytest.fixture(scope="module")
def actor(released: Path) -> Actor:
    output = released.with_name("head.actor")
    done = avatar("import", "nerf_blendshape", str(released), "--data", str(FIXTURE), "--output", str(output))
    assert done.returncode == 0, done.stderr
    return Actor.load(output)


def camera_of(actor: Actor, size: int = 24) -> Camera:
    return HeadFolder.open(FIXTURE).frames[0].camera.scaled(size / 64)


def test_checkpoint_is_imported_bit_for_bit(released: Path, state: dict[str, torch.Tensor], actor: Actor) -> None:
    found = checkpoint.read(released, Config())
    assert found.step == 20000
    for name, value in checkpoint.publish(found.field, found.grid).items():
        torch.testing.assert_close(value, state[name], rtol=0, atol=0)
    field = actor._model.field
    torch.testing.assert_close(field.density_net.params, state["sigma_net.params"], rtol=0, atol=0)
    torch.testing.assert_close(field.tables[0], state["encoder.embeddings_mean"][0], rtol=1e-3, atol=1e-6)


def test_compact_actor_shows_the_same(released: Path, actor: Actor) -> None:
    output = released.with_name("small.actor")
    arguments = ("--data", str(FIXTURE), "--output", str(output), "--compact")
    done = avatar("import", "nerf_blendshape", str(released), *arguments)
    assert done.returncode == 0, done.stderr
    assert output.stat().st_size < 25e6 < released.with_name("head.actor").stat().st_size
    lost = re.search(r"([\d.]+) % of what the expressions add is lost", done.stdout)
    assert lost is not None and 0.1 < float(lost[1]) < 2  # one expression alone moves: only the 8 bits are lost
    small, camera = Actor.load(output), camera_of(actor)
    opened = replace(actor.schema.neutral(), expression=from_shape_keys({"jawOpen": 0.5}, EXPRESSIONS))
    one, two = (which.render(opened, camera, "preview") for which in (actor, small))
    assert np.abs(one.rgba - two.rgba).mean() < 0.01 < np.abs(one.rgba).mean()


def test_principal_tables_are_those_that_move() -> None:
    """As many independent expressions as there are tables are kept; of more, those that are driven farthest."""
    config = replace(Config(), levels=2, features=2, log2_size=6, finest=32)
    torch.manual_seed(0)
    field = Field(config)
    field.tables.data.normal_()
    parameters = dict(field.named_parameters())
    for moving, most in ((19, 0.01), (46, 0.9)):
        reach = np.where(np.arange(46) < moving, 1.0, 0.0)
        made, lost = compacted(config, parameters, reach)
        assert made["tables"].dtype == torch.int8 and lost < most
        assert lost > 0.3 or moving < 20
        small = Field(replace(config, principal=PRINCIPAL))
        small.load_state_dict(made)
        weights = torch.zeros(47)
        weights[0] = 1
        torch.testing.assert_close(small.mix(weights), field.mix(weights), atol=0.02, rtol=0)


def test_head_follows_expression_and_pose(actor: Actor, caplog: pytest.LogCaptureFixture) -> None:
    assert actor.schema.head and actor.schema.expressions == EXPRESSIONS
    rest, camera = actor.schema.neutral(), camera_of(actor)
    still = actor.render(rest, camera, "preview")
    assert still.mask.max() > 0.9 and 0.15 < still.depth[still.mask > 0.9].min() < 0.4
    assert (still.depth[still.mask == 0] == EMPTY_DEPTH).all()
    opened = actor.render(replace(rest, expression=from_shape_keys({"jawOpen": 0.5}, EXPRESSIONS)), camera, "preview")
    assert np.abs(opened.rgba - still.rgba).max() > 0.02
    turn = np.eye(4, dtype=np.float32)
    turn[:3, :3] = [[0, 0, 1], [0, 1, 0], [-1, 0, 0]]
    turn[:3, 3] = (0.3, 0.2, -0.1)
    together = replace(camera, world_to_camera=camera.world_to_camera @ np.linalg.inv(turn).astype(np.float64))
    moved = actor.render(replace(rest, head=turn), together, "preview")
    np.testing.assert_allclose(moved.rgba, still.rgba, atol=0.02)
    np.testing.assert_allclose(moved.depth[still.mask > 0.9], still.depth[still.mask > 0.9], atol=2e-3)
    low, high = (actor.proxy_mesh(replace(rest, head=turn))[0] - turn[:3, 3]).min(0), actor.body.vertices.max(0)
    assert (high < 0.2).all() and (low > -0.2).all()


def test_values_outside_of_the_ranges_are_clamped_and_said_once(actor: Actor, caplog: pytest.LogCaptureFixture) -> None:
    rest, camera = actor.schema.neutral(), camera_of(actor, 12)
    highest = np.loadtxt(FIXTURE / "max_46.txt")[JAW]
    pictures = []
    for value in (highest, highest + 1, highest + 2):
        expression = rest.expression.copy()
        expression[JAW] = value
        pictures.append(actor.render(replace(rest, expression=expression), camera, "preview").rgba)
    np.testing.assert_allclose(pictures[1], pictures[2])
    np.testing.assert_allclose(pictures[0], pictures[1], atol=1e-2)
    said = [record.getMessage() for record in caplog.records if "clamped" in record.getMessage()]
    assert len(said) == 1 and "jawOpen" in said[0]


def test_controls_that_no_head_takes(actor: Actor) -> None:
    camera = camera_of(actor, 12)
    for controls, words in (
        (Controls(expression=np.zeros(45, np.float32)), "45"),
        (Controls(expression=np.full(46, np.nan, np.float32)), "expression"),
        (Controls(head=np.full((4, 4), np.nan, np.float32)), "head"),
        (Controls(head=np.zeros((4, 4), np.float32)), "head"),
        (Controls(head=np.diag([1, 1, 0, 1]).astype(np.float32)), "not flat"),
    ):
        with pytest.raises(ControlError, match=words):
            actor.render(controls, camera, "draft")


def test_camera_inside_and_behind(actor: Actor) -> None:
    for place, target in (([0, 0, 0.01], [0, 0, 1]), ([0, 0, 1], [0, 0, 9])):
        camera = Camera.look_at(np.array(place), np.array(target), 0.7, 12, 12)
        frame = actor.render(actor.schema.neutral(), camera, "draft")
        assert np.isfinite(frame.rgba).all()
    assert not frame.mask.any()


def test_what_cannot_be_imported_is_said(released: Path, state: dict[str, torch.Tensor], tmp_path: Path) -> None:
    small = {name: value for name, value in state.items() if "embeddings" not in name}
    names = "evil", "foreign", "older", "half", "legacy"
    evil, foreign, older, half, legacy = (tmp_path / f"{name}.pth.tar" for name in names)
    torch.save({"model": small, "stats": Path("/tmp")}, evil)
    torch.save({"conv.weight": torch.zeros(1)}, foreign)
    torch.save({"conv.weight": torch.zeros(1)}, legacy, _use_new_zipfile_serialization=False)
    tables = {name: state[name] for name in state if "embeddings" in name}
    half.write_bytes(released.read_bytes()[: 1 << 20])
    for published, words in (
        ({**state, "sigma_net.params": torch.zeros(20992)}, "before September 2022"),
        ({**state, "sigma_net.params": torch.zeros(7)}, "must be float32 (21504,), is float32 (7,)"),
        ({**small, **tables, "density_grid": torch.full((129, 129, 129), torch.nan)}, "holds NaN"),
        ({**small, **tables, "encoder.offsets": torch.zeros(17, dtype=torch.int32)}, "of another grid"),
        (small, "has no 'encoder.embeddings_mean'"),
    ):
        with pytest.raises(checkpoint.CheckpointError, match=words.replace("(", r"\(").replace(")", r"\)")):
            checkpoint.rename(published, Config(), older)
    bare = tmp_path / "bare"
    bare.mkdir()
    fewer = Path(shutil.copytree(FIXTURE, tmp_path / "fewer"))
    (fewer / "max_46.txt").write_text("1\n" * 45)
    output = tmp_path / "x.actor"
    for path, words in (
        (foreign, "foreign.pth.tar has no 'encoder.embeddings_mean'"),
        (legacy, "legacy.pth.tar has no 'encoder.embeddings_mean'"),
        (half, "half.pth.tar is no NeRFBlendShape checkpoint"),
        (tmp_path / "none", "none cannot be read"),
    ):
        with pytest.raises(checkpoint.CheckpointError, match=words):
            checkpoint.read(path, Config())
    with pytest.raises(AvatarError, match=r"has no transforms\.json"):
        read_ranges(bare, -5)
    with pytest.raises(AvatarError, match=r"max_46\.txt must have 46 lines, has 45"):
        read_ranges(fewer, None)
    for arguments, words in (
        ([str(evil), "--data", str(FIXTURE)], "evil.pth.tar is no NeRFBlendShape checkpoint"),
        ([str(released), "--data", str(bare)], "bare has no max_46.txt and min_46.txt"),
    ):
        done = avatar("import", "nerf_blendshape", *arguments, "--output", str(output))
        assert done.returncode == 2 and words in done.stderr, done.stderr
        assert len(done.stderr.strip().splitlines()) == 1 and not output.exists()
