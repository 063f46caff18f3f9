"""What `neural_actor_paper` does otherwise than published if told: samples near the surface, seams, sides, views."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from avatar_core.actor import Actor
from avatar_core.body import Body
from avatar_core.camera import Camera
from avatar_core.config import ConfigError
from avatar_core.cuda.closest_point import TriangleBVH
from avatar_core.frame import Frame, linear_to_srgb
from avatar_core.methods.neural_actor.paper import Config, Model
from avatar_core.methods.neural_actor.paper.field import Field
from avatar_core.methods.neural_actor.paper.geometry import PosedMesh
from avatar_core.methods.neural_actor.paper.renderer import Renderer
from avatar_core.methods.neural_actor.paper.seams import Gutter
from avatar_core.methods.neural_actor.paper.texture import sample_map
from avatar_core.quality import Quality
from training.metrics import psnr

_QUALITY = Quality(step=0.006, scale=1.0, stop=0.002)


@pytest.fixture(scope="module")
def body(tiny_actor: Path) -> Body:
    return Actor.load(tiny_actor).body


@pytest.fixture(scope="module")
def model(body: Body) -> Model:
    """Untrained networks around the body: opaque within centimetres, in colours that depend on view and pose."""
    torch.manual_seed(3)
    made = Model(Config(texture_size=32), body)
    torch.nn.init.normal_(made.renderer.field.density_out.weight, std=4.0)
    torch.nn.init.constant_(made.renderer.field.density_out.bias, 60.0)
    for parameter in made.textures.parameters():  # no map is grey
        torch.nn.init.normal_(parameter, std=0.3)
    return made.eval()


@pytest.fixture
def chosen(model: Model) -> Iterator[Model]:
    """`model`, whose config the test changes."""
    kept = model.config
    yield model
    model.config = kept


def picture(model: Model, angle: float = 0.0) -> Frame:
    """The actor and the camera, both turned about the vertical through the pelvis."""
    rest = model.schema.neutral()
    pelvis = model.body.joints()[0]
    away = np.array([2.4 * np.sin(angle + 0.4), 0.1, 2.4 * np.cos(angle + 0.4)])
    camera = Camera.look_at(pelvis + away, pelvis, 0.8, 20, 20)
    pose = rest.pose.copy()
    pose[0, 1] = angle
    return model.render(replace(rest, pose=pose), camera, _QUALITY)


def shown(frame: Frame) -> np.ndarray:
    """[H, W, 3] display sRGB over white."""
    return np.clip(linear_to_srgb(frame.over(np.ones(3))), 0, 1)


def test_samples_near_the_surface_give_the_published_picture(chosen: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    looked: list[int] = []
    look = Renderer.look

    def counted(self: Renderer, at: object, folded: torch.Tensor) -> object:
        looked.append(len(at.canonical))  # type: ignore[attr-defined]
        return look(self, at, folded)  # type: ignore[arg-type]

    monkeypatch.setattr(Renderer, "look", counted)
    published, samples = picture(chosen), sum(looked)
    looked.clear()
    chosen.config = replace(chosen.config, sampler="shell")
    shell = picture(chosen)
    assert sum(looked) < samples / 2
    full = published.mask > 0.5
    assert psnr(shown(shell)[full], shown(published)[full]) > 30
    assert np.abs(shell.mask - published.mask).mean() < 0.01
    both = (published.mask > 0.9) & (shell.mask > 0.9)
    assert np.median(np.abs(shell.depth - published.depth)[both]) < 0.006


def test_what_lies_deep_in_the_body_counts(chosen: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    """In a thin fog, as fields are before they are trained: as much of it in both, also farther inside than `reach`."""
    monkeypatch.setattr(Field, "density", lambda self, features: torch.full((len(features),), 5.0))
    masks = []
    for sampler in ("published", "shell"):
        chosen.config = replace(chosen.config, sampler=sampler)
        masks.append(picture(chosen).mask)
    middle = masks[0] > np.quantile(masks[0], 0.95)  # the trunk
    assert 0.5 < masks[0][middle].mean() < 0.9
    assert np.abs(masks[1] - masks[0])[middle].max() < 0.03


def test_a_frame_does_not_depend_on_those_before_it(chosen: Model) -> None:
    """Keys of pose and body shape, back and forth: each has its own map, silhouette and picture, always the same."""
    chosen.config = replace(chosen.config, sampler="shell")
    rest = chosen.schema.neutral()
    bent, heavy = rest.pose.copy(), rest.betas.copy()
    bent[4, 0], heavy[0] = 0.8, 3
    keys = [rest, replace(rest, pose=bent), replace(rest, betas=heavy)]
    camera = Camera.look_at(np.array([0, 0, 3.0]), np.zeros(3), 0.8, 16, 16)

    def frame(key: int) -> np.ndarray:
        return chosen.render(keys[key], camera, _QUALITY).rgba

    first, pose, shape = frame(0), frame(1), frame(2)
    np.testing.assert_array_equal(frame(0), first)
    np.testing.assert_array_equal(frame(1), pose)
    for one, other in ((first, pose), (first, shape), (pose, shape)):
        assert np.abs(one - other).max() > 0.01
    with torch.inference_mode():
        maps = [chosen.paint(chosen._picture(key), key) for key in keys[:2]]
    assert float((maps[0] - maps[1]).abs().max()) > 0


def test_colours_may_depend_on_the_view_against_the_root(chosen: Model) -> None:
    chosen.config = replace(chosen.config, sampler="shell")
    world = np.abs(shown(picture(chosen, 1.0)) - shown(picture(chosen))).max()
    chosen.config = replace(chosen.config, views="root")
    root = np.abs(shown(picture(chosen, 1.0)) - shown(picture(chosen)))
    assert world > 0.05 and np.quantile(root, 0.98) < 1e-3


def test_a_lookup_at_a_border_stays_in_its_chart() -> None:
    face_uv = torch.tensor([[[0, 0], [0.5, 0], [0.5, 1]], [[0, 0], [0.5, 1], [0, 1.0]]])  # the left half
    features = torch.full((1, 8, 8), -9.0)
    features[:, :, :4] = 2
    edge = torch.tensor([[0.5, 0.3], [0.499, 0.999], [0.0, 0.0]])
    gutter = Gutter(face_uv)
    torch.testing.assert_close(gutter.lookup(gutter.fill(features), edge), torch.full((3, 1), 2.0))
    assert float(sample_map(features, edge)[0]) < 0


def test_the_side_of_an_edge_is_right() -> None:
    """In front of a blade's edge, slightly to one side, a point lies behind the other face's plane."""
    vertices = torch.tensor([[0, 0, 1.0], [0, 0, -1], [-1, 0.2, 0], [-1, -0.2, 0]])
    faces = torch.tensor([[0, 1, 2], [1, 0, 3], [0, 2, 3], [1, 3, 2]])
    uv, weights, still = torch.zeros(4, 3, 2), torch.ones(4, 1), torch.eye(4)[None]
    points = torch.tensor([[0.05, 0.02, 0], [0.05, -0.02, 0], [-0.3, 0, 0]])
    heights = [
        PosedMesh.pose(vertices, faces, uv, weights, still, pseudo_normals=pseudo).locate(points).local[:, 2]
        for pseudo in (False, True)
    ]
    assert (heights[1] > 0).tolist() == [True, True, False]
    torch.testing.assert_close(heights[0].abs(), heights[1].abs())


def test_unknown_words_are_named() -> None:
    with pytest.raises(ConfigError, match="'surface' must be published or seamless, got 'smooth'"):
        Config(surface="smooth")


def test_the_surface_is_a_mesh_around_the_posed_body(body: Body) -> None:
    pytest.importorskip("skimage", reason="scikit-image makes the mesh")
    torch.manual_seed(5)
    model = Model(Config(texture_size=32, reach=0.01), body).eval()
    torch.nn.init.constant_(model.renderer.field.density_out.bias, 90.0)  # full as far as it reaches
    rest = model.schema.neutral()
    turned = replace(rest, transl=np.array([0.3, 1, 0], np.float32))
    mesh, moved = model.surface(rest, 1), model.surface(turned, 1)
    np.testing.assert_allclose(moved.vertices.mean(0) - mesh.vertices.mean(0), turned.transl, atol=2e-3)
    posed, faces = model.proxy_mesh(rest)
    distance2, _, _ = TriangleBVH(torch.as_tensor(posed), torch.as_tensor(faces).long()).closest(
        torch.as_tensor(mesh.vertices)
    )
    assert float(distance2.sqrt().median()) < 0.02 and np.ptp(mesh.vertices[:, 1]) > np.ptp(posed[:, 1])
    assert (mesh.colours >= 0).all() and (mesh.colours <= 1).all()
