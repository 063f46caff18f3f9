"""HumanViewSynthesis as an actor: imported, driven by a pose or by points, cropped, cut, refused."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from avatar_core.actor import Actor, describe
from avatar_core.body.template import load_template
from avatar_core.camera import Camera
from avatar_core.cli import main
from avatar_core.controls import ControlError, Controls
from avatar_core.errors import AvatarError
from avatar_core.frame import EMPTY_DEPTH, linear_to_srgb
from avatar_core.methods.checkpoint import CheckpointError
from avatar_core.methods.human_view_synthesis import Config, Model
from avatar_core.methods.human_view_synthesis.checkpoint import parse
from avatar_core.methods.human_view_synthesis.folded import Box, FoldedDecoder
from avatar_core.methods.human_view_synthesis.generator import Generator
from avatar_core.methods.human_view_synthesis.latent import latent_image
from avatar_core.methods.human_view_synthesis.lens import plane, undistort
from avatar_core.methods.human_view_synthesis.passes import spread
from avatar_core.methods.human_view_synthesis.primitives import Primitives
from avatar_core.methods.human_view_synthesis.skeleton import HUMAN36M, PANOPTIC
from avatar_core.quality import QUALITIES

SMALL: dict[str, Any] = {"size": 64, "latent": 64, "base": 16, "pose_width": 64}


def person(seed: int = 0, **options: Any) -> Model:
    """A model that was never trained, whose latent alpha is its coverage."""
    torch.manual_seed(seed)
    model = Model(Config(**(SMALL | {"encoder": False, "pose_width": 0} | options)), load_template()).eval()
    model.appearance.normal_()
    return model


@pytest.fixture(scope="module")
def actor() -> Actor:
    model = person()
    return Actor(model, model.body, describe("human_view_synthesis", model, model.body, {"name": "x"}, "CC0-1.0"))


def view(width: int = 64, height: int = 64, away: float = 3.0) -> Camera:
    return Camera.look_at(np.array([0, 1, away]), np.array([0, 1, 0]), 0.75, width, height)


def points(actor: Actor) -> np.ndarray:
    return actor._model.points(actor.schema.neutral())  # type: ignore[attr-defined]


def published(config: Config) -> dict[str, torch.Tensor]:
    """Tensors of zeros that take no memory, in the published layout."""
    with torch.device("meta"):
        made = {k: v for k, v in Generator(config).state_dict().items() if "primitives" not in k}
    state = {f"model.{k}": torch.zeros((), dtype=v.dtype).expand(v.shape) for k, v in made.items()}
    return state | {"lpips_metric.extractor.lin.0.weight": torch.zeros(1, 64, 1, 1)}


def hyper_parameters(config: Config) -> dict[str, Any]:
    skeleton = config.skeleton_of()
    return {
        "joints": {name: i for i, name in enumerate(skeleton.joints)},
        "edges": skeleton.limbs,
        "widths": torch.tensor(skeleton.widths)[:, None, None],
        "rendering_resolution": config.latent,
        "target_resolution": config.size,
    }


@pytest.mark.parametrize("skeleton, ratio", [("human36m17", 1), ("panoptic117", 2)])
def test_a_released_checkpoint_becomes_an_actor_that_draws_the_same(
    skeleton: str, ratio: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    torch.manual_seed(1)
    config = Config(**SMALL | {"skeleton": skeleton, "size": 64 * ratio}, published=True, alpha=False)
    source = Generator(config).eval().requires_grad_(False)
    source.r2i.out_block[0].c.bias.fill_(0.5)  # type: ignore[union-attr,operator]  # far from the background
    state = {f"model.{k}": v for k, v in source.state_dict().items() if "primitives" not in k}
    path, picture = tmp_path / "last.ckpt", tmp_path / "person.png"
    torch.save({"state_dict": state, "hyper_parameters": hyper_parameters(config), "epoch": 3}, path)
    pixels = np.random.default_rng(0).integers(0, 255, (80, 60, 3), np.uint8)
    Image.fromarray(pixels).save(picture)
    out = tmp_path / "a.actor"
    assert main(["import", "human_view_synthesis", str(path), "--appearance", str(picture), "--output", str(out)]) == 0
    assert skeleton in capsys.readouterr().out
    actor = Actor.load(out)
    model: Any = actor._model
    for name, value in source.state_dict().items():
        assert torch.equal(model.generator.state_dict()[name], value), name
    camera = view(config.size, config.size)
    joints = points(actor)
    local = joints @ camera.world_to_camera[:3, :3].T + camera.world_to_camera[:3, 3]
    side = torch.arange(config.latent)
    K = torch.tensor(camera.K)
    K[:2, 2] -= 0.5  # published: whole numbers are centres of pixels
    K[:2] /= ratio
    rays = plane(K, torch.zeros(0), side, side).float()
    with torch.no_grad():
        wanted, _ = source.draw(torch.as_tensor(local)[None].float(), model.appearance[None], [rays])
        drawn = model._folded(model.appearance, torch.float32)
        latent = latent_image(rays, source.primitives(torch.as_tensor(local).float()), model.appearance, True)
        assert float((drawn(latent.features[None]) - wanted).abs().amax()) < 1e-5 * float(wanted.abs().amax().clamp(1))
    frame = actor.render(actor.schema.neutral(), camera, "final")
    opaque = frame.mask > 0.999
    shown = linear_to_srgb(frame.rgba[opaque][:, :3])
    assert opaque.any()
    np.testing.assert_allclose(shown, wanted[0].clamp(0, 1).permute(1, 2, 0).numpy()[opaque], atol=2e-5)


def test_a_file_keeps_the_person(actor: Actor, tmp_path: Path) -> None:
    actor.save(tmp_path / "a.actor")
    again = Actor.load(tmp_path / "a.actor")
    first, second = (one.render(one.schema.neutral(), view(), "final") for one in (actor, again))
    assert first.mask.max() > 0.05
    np.testing.assert_allclose(first.rgba, second.rgba, atol=2e-2)
    assert first.limb is not None and second.limb is not None and (first.limb == second.limb).mean() > 0.99


def test_points_and_the_pose_that_gives_them_are_one_picture(actor: Actor) -> None:
    rest = actor.schema.neutral()
    pose = rest.pose.copy()
    pose[16, 2] = -1.0
    posed = replace(rest, pose=pose, transl=np.array([0.1, 0, 0.2], np.float32))
    places = actor._model.points(actor.schema.check(posed))  # type: ignore[attr-defined]
    first = actor.render(posed, view(), "final")
    again = actor.render(Controls.from_dict(Controls(points=places).to_dict()), view(), "final")
    np.testing.assert_allclose(first.rgba, again.rgba, atol=1e-4)
    assert np.abs(first.rgba - actor.render(rest, view(), "final").rgba).max() > 0.05


def test_planes_fit_together(actor: Actor) -> None:
    frame = actor.render(actor.schema.neutral(), view(96, 80), "final")
    shown = frame.mask > 0
    assert shown.any() and frame.limb is not None
    np.testing.assert_array_equal(frame.mask, frame.rgba[..., 3])
    assert (frame.limb[~shown] == -1).all() and (frame.depth[~shown] == EMPTY_DEPTH).all()
    assert (frame.limb[shown] >= 0).all() and (frame.limb < len(HUMAN36M.limbs)).all()
    assert (np.abs(frame.depth[shown] - 3) < 1).all()
    np.testing.assert_allclose(np.linalg.norm(frame.normal[shown], axis=1), 1, atol=1e-3)
    assert (frame.normal[shown] @ view().forward < 0.3).mean() > 0.95


def test_limbs_are_where_they_are_seen(actor: Actor) -> None:
    camera = view(128, 128, 5.0)
    frame = actor.render(actor.schema.neutral(), camera, "final")
    pixels, depth = camera.project(points(actor))
    middles = np.array([(pixels[a] + pixels[b]) / 2 for a, b in HUMAN36M.limbs])
    found = 0
    for limb, (x, y) in enumerate(middles):
        if HUMAN36M.limb_names[limb] in ("RHip-RKnee", "LKnee-LFoot", "LElbow-LWrist"):
            assert frame.limb is not None and frame.limb[int(y), int(x)] in (limb, -1)
            if frame.limb[int(y), int(x)] == limb:
                found += 1
                assert abs(frame.depth[int(y), int(x)] - depth[list(HUMAN36M.limbs[limb])].mean()) < 0.1
    assert found


def test_a_crop_is_a_part_of_the_picture(actor: Actor) -> None:
    camera = view(160, 120)
    whole = actor.render(actor.schema.neutral(), camera, "final")
    part = actor.render(actor.schema.neutral(), camera.crop(40, 30, 90, 70), "final")
    np.testing.assert_allclose(part.rgba, whole.rgba[30:100, 40:130], atol=2e-3)
    assert whole.mask[30:100, 40:130].max() > 0.05


def test_missing_joints_take_their_limbs_with_them(actor: Actor) -> None:
    places = points(actor).copy()
    whole = actor.render(Controls(points=places), view(), "final")
    for name in ("LElbow", "LWrist"):
        places[HUMAN36M.joints.index(name)] = np.nan
    frame = actor.render(Controls(points=places), view(), "final")
    assert frame.limb is not None and whole.limb is not None
    gone = HUMAN36M.limbs.index((12, 13))
    assert (whole.limb == gone).any() and not (frame.limb == gone).any()
    assert np.isfinite(frame.rgba).all()
    lonely = np.full_like(places, np.nan)
    lonely[0] = 0
    with pytest.raises(ControlError, match="no limb has both of its joints"):
        actor.render(Controls(points=lonely), view())
    with pytest.raises(ControlError, match="no place that is known"):
        actor.render(Controls(points=np.full_like(places, np.nan)), view())
    with pytest.raises(ControlError, match="must have shape"):
        actor.render(Controls(points=places[:5]), view())


def test_nobody_is_seen_behind_the_camera(actor: Actor) -> None:
    behind = Camera.look_at(np.array([0, 1, 3.0]), np.array([0, 1, 6.0]), 0.75, 64, 64)
    assert actor.render(actor.schema.neutral(), behind, "final").mask.max() == 0
    places = points(actor).copy()
    half = places.copy()
    half[[11, 12, 13]] = (0.3, 1, 5)  # an arm reaches behind the camera
    frame = actor.render(Controls(points=half), view(), "final")
    assert np.isfinite(frame.rgba).all() and frame.mask.max() > 0.05


def lens(points: np.ndarray, coefficients: np.ndarray) -> np.ndarray:
    """OpenCV's model, forward."""
    k1, k2, p1, p2, k3, k4, k5, k6, s1, s2, s3, s4 = np.pad(coefficients, (0, 12 - len(coefficients)))
    x, y = points.T
    r2 = x * x + y * y
    radial = (1 + k1 * r2 + k2 * r2**2 + k3 * r2**3) / (1 + k4 * r2 + k5 * r2**2 + k6 * r2**3)
    bent_x = x * radial + 2 * p1 * x * y + p2 * (r2 + 2 * x * x) + s1 * r2 + s2 * r2**2
    return np.stack([bent_x, y * radial + p1 * (r2 + 2 * y * y) + 2 * p2 * x * y + s3 * r2 + s4 * r2**2], 1)


@pytest.mark.parametrize("count", [4, 5, 8, 12])
def test_lenses_of_every_length_are_undone(count: int) -> None:
    flat, coefficients = np.array([[0.2, -0.1], [0.0, 0.3]]), np.linspace(0.05, -0.02, count)
    bent = lens(flat, coefficients)
    assert np.abs(bent - flat).max() > 1e-3
    found = undistort(torch.as_tensor(bent), torch.as_tensor(coefficients)).numpy()
    np.testing.assert_allclose(found, flat, atol=1e-5)


@pytest.mark.parametrize("bad", [torch.zeros(3), torch.zeros(6), torch.tensor([0.1, float("nan"), 0, 0])])
def test_other_lenses_are_refused(bad: torch.Tensor) -> None:
    with pytest.raises(AvatarError, match="a lens has 0, 4, 5, 8, 12 finite distortion coefficients"):
        undistort(torch.zeros(1, 2), bad)


def test_the_folded_decoder_is_the_decoder() -> None:
    model = person(skeleton="panoptic117", size=128, alpha=True)
    for name, value in model.generator.r2i.state_dict().items():
        if name.endswith("average"):
            value.uniform_(0.5, 2)
    latent = torch.randn(2, 16, 64, 64)
    style = model.appearance.flatten()
    wanted = model.generator.r2i(latent, style.expand(2, -1))
    wanted = wanted.detach()
    exact = FoldedDecoder(model.generator.r2i, style, torch.float32)(latent)
    assert float((exact - wanted).abs().amax()) < 1e-5
    for box in (Box(10, 100, 40, 91), Box(0, 128, -3, 200), Box(77, 78, 3, 4)):
        inside = box.within(Box(0, 128, 0, 128))
        part = FoldedDecoder(model.generator.r2i, style, torch.float32)(latent, box)
        assert float((inside.of(part - wanted, None)).abs().amax()) < 1e-5
        assert float(part.abs().sum() - inside.of(part, None).abs().sum()) == pytest.approx(0, abs=1e-2)
    few = torch.zeros_like(latent)
    few[:, :, 20:37, 41:50] = latent[:, :, 20:37, 41:50]
    folded, whole = FoldedDecoder(model.generator.r2i, style, torch.float32), Box(0, 128, 0, 128)
    for sparse in (few, torch.zeros_like(latent), few.flip(2).roll(20, 3)):
        assert float((folded(sparse, whole) - folded(sparse)).abs().amax()) < 1e-5
    half = FoldedDecoder(model.generator.r2i, style, torch.bfloat16)(latent)
    assert float((half - wanted).abs().mean() / wanted.std()) < 0.03


def test_nearer_limbs_hide_farther_ones_when_asked() -> None:
    joints = torch.zeros(17, 3) * float("nan")
    joints[[1, 2]] = torch.tensor([[-0.4, 0, 3.0], [0.4, 0, 3.0]])
    joints[[4, 5]] = torch.tensor([[0, -0.4, 3.2], [0, 0.4, 3.2]])
    gaussians = Primitives(HUMAN36M)(joints)
    features = torch.eye(16)
    rays = plane(
        torch.tensor([[300.0, 0, 32], [0, 300, 32], [0, 0, 1]]), torch.zeros(0), torch.arange(65), torch.arange(65)
    )
    front, back = HUMAN36M.limbs.index((1, 2)), HUMAN36M.limbs.index((4, 5))
    soft = latent_image(rays, gaussians, features, published=False)
    hard = latent_image(rays, gaussians, features, published=False, density=1000.0)
    share = [image.features[[front, back], 32, 32] for image in (soft, hard)]
    assert 0.3 < float(share[0][1] / share[0][0]) < 1 and float(share[1][1] / share[1][0]) < 0.1
    assert int(hard.limb[32, 32]) == front and abs(float(hard.depth[32, 32]) - 3) < 0.05
    assert bool((hard.alpha <= 1).all()) and int(hard.limb[0, 0]) == -1


def test_several_gaussians_share_a_limb() -> None:
    one, three = Primitives(HUMAN36M), Primitives(HUMAN36M, 3)
    joints = torch.randn(17, 3)
    a, b = one(joints), three(joints)
    assert len(three) == 3 * len(one) and torch.allclose(b.centres[1::3], a.centres, atol=1e-6)
    assert torch.allclose(b.axes[::3] * 3, a.axes, atol=1e-5)
    assert three.limb_of(torch.tensor([-1, 0, 2, 3])).tolist() == [-1, 0, 0, 1]
    model = person(per_limb=3)
    assert model.appearance.shape == (48, 16)
    frame = model.render(model.schema.neutral(), view(), QUALITIES["final"])
    assert frame.limb is not None and frame.limb.max() < 16


def test_a_whole_hand_and_face_on_our_body() -> None:
    model = person(skeleton="panoptic117")
    places = model.points(model.schema.neutral())
    assert places.shape == (117, 3) and np.isfinite(places).all()
    at = {name: place for name, place in zip(PANOPTIC.joints, places)}
    assert at["LMiddle4FingerTip"][0] > at["LWrist"][0] > at["LElbow"][0] > at["LShoulder"][0] > 0 > at["RShoulder"][0]
    assert at["LEyeBrow4"][0] > 0 > at["REyeBrow0"][0] and at["REye0"][0] < at["REye3"][0] < at["LEye0"][0]
    assert at["FaceContour8"][1] < at["OMouth9"][1] < at["NoseLower2"][1] < at["REye1"][1] < at["REyeBrow2"][1]


def test_holes_are_filled_from_the_nearest_pixel() -> None:
    values = torch.zeros(1, 21, 30)
    known = torch.zeros(21, 30, dtype=torch.bool)
    known[3, 4] = known[18, 25] = True
    values[0, 3, 4], values[0, 18, 25] = 1, 2
    filled = spread(values, known, torch.ones_like(known))[0]
    rows, columns = np.mgrid[:21, :30]
    nearer = (rows - 3) ** 2 + (columns - 4) ** 2 < (rows - 18) ** 2 + (columns - 25) ** 2
    assert (np.where(nearer, 1, 2) == filled.numpy()).mean() > 0.99


@pytest.mark.parametrize(
    "spoil, sentence",
    [
        (lambda state, options: state.pop("model.r2i.mid_blocks.0.0.c.weight"), "has no 'r2i.mid_blocks.0.0.c.weight'"),
        (lambda state, options: state.update({"model.extra": torch.zeros(1)}), "'model.extra'"),
        (lambda state, options: state.update({"other.x": torch.zeros(1)}), "'other.x'"),
        (lambda state, options: state.update({"model.p2p.layers.3.bias": torch.full((51,), torch.nan)}), "NaN"),
        (lambda state, options: options.update(edges=((0, 1),)), "edges are not the limbs"),
        (lambda state, options: options.update(widths=torch.zeros(16)), "'widths' must be 16 numbers"),
        (lambda state, options: options.update(joints={"Nose": 0}), "joints are not in the order"),
        (lambda state, options: options.update(target_resolution=96), "'latent' must be a multiple"),
    ],
)
def test_checkpoints_that_do_not_fit_say_why(spoil: Any, sentence: str) -> None:
    config = Config(**SMALL, published=True, alpha=False)
    state, options = published(config), hyper_parameters(config)
    parse(dict(state), dict(options), Path("x.ckpt"))
    spoil(state, options)
    with pytest.raises(CheckpointError, match=sentence):
        parse(state, options, Path("x.ckpt"))


def test_the_pose_network_alone_is_no_actor() -> None:
    with pytest.raises(CheckpointError, match="the pose network alone"):
        parse({"model.layers.3.bias": torch.zeros(51)}, {}, Path("x.ckpt"))
