"""HumanViewSynthesis against what its own code gave: networks, rays, Gaussians, latent images, pictures, training.

The renderer is compared with the recording in double precision: in single precision the published form is wrong by up
to 0.3 in alpha. Feature vectors are larger than one, and errors are counted in their size.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from avatar_core.cuda.gaussians import gaussian_image, published_background
from avatar_core.methods.human_view_synthesis.appearance import AppearanceEncoder
from avatar_core.methods.human_view_synthesis.checkpoint import parse
from avatar_core.methods.human_view_synthesis.config import Config
from avatar_core.methods.human_view_synthesis.decoder import Decoder
from avatar_core.methods.human_view_synthesis.discriminator import Discriminator
from avatar_core.methods.human_view_synthesis.generator import Generator, between_cameras
from avatar_core.methods.human_view_synthesis.latent import latent_image
from avatar_core.methods.human_view_synthesis.lens import plane
from avatar_core.methods.human_view_synthesis.pose_network import PoseNetwork
from avatar_core.methods.human_view_synthesis.primitives import Gaussians, Primitives
from avatar_core.methods.human_view_synthesis.skeleton import SKELETONS

from .conftest import Reference
from .weights import human_view_synthesis

RENDERER, NETWORK, PICTURE = 3e-5, 1e-4, 1e-5
RELEASED = 256  # pixels a side from which models are the released ones
POSE_WIDTHS = {17: 1024, 117: 2048}  # of the released ones, by joints
SMALL_WIDTHS = tuple(range(64, 544, 32))
LENS = (-0.2, 0.2, 0.0, 0.0)  # of the recorded gradients


@dataclass(frozen=True)
class Recording:
    """One model of the recording."""

    values: Reference
    name: str

    def __getitem__(self, name: str) -> Tensor:
        return torch.as_tensor(self.values[f"{self.name}/{name}"])

    def __contains__(self, name: str) -> bool:
        return f"{self.name}/{name}" in self.values.values

    def column(self, name: str) -> Tensor:
        return self[name][..., 0]

    @cached_property
    def config(self) -> Config:
        joints = self["in.A.pose_2d.p"].shape[1]
        skeleton = next(one for one in SKELETONS.values() if len(one.joints) == joints)
        side, latent = self["known.image_from_render_fp64"].shape[-1], self["known.alpha_fp64"].shape[-1]
        base = 64 if side >= RELEASED else len(self.values["train/r2i.down_blocks.0.0.n.ema.average"])
        features = self["out.A.appearance"].shape[2]
        options = {"features": features, "base": base, "pose_width": POSE_WIDTHS[joints]}
        return Config(skeleton.name, published=True, alpha=False, size=side, latent=latent, encoder=False, **options)

    def fill(self, module: nn.Module, prefix: str) -> nn.Module:
        return fill(module, prefix, self.values.salt)

    @cached_property
    def plane(self) -> Tensor:
        """[H, W, 2] float64 rays of the latent image."""
        K = self["in.B.K"][0].double()
        K[:2] *= self.config.latent / self.config.size
        side = torch.arange(self.config.latent)
        return plane(K, self["in.B.dist_coef"][0].double(), side, side)

    @cached_property
    def gaussians(self) -> Gaussians:
        return Primitives(self.config.skeleton_of())(self.column("known.gt_pose_B")[0])


def fill(module: nn.Module, prefix: str, salt: str) -> nn.Module:
    state = module.state_dict()
    made = {name: human_view_synthesis(prefix + name, tuple(value.shape), salt) for name, value in state.items()}
    module.load_state_dict({name: torch.as_tensor(value) for name, value in made.items()})
    return module.eval().requires_grad_(False)


def apart(found: Tensor, wanted: Tensor) -> float:
    assert found.shape == wanted.shape
    return float((found.double() - wanted.double()).abs().amax())


def apart_for_its_size(found: Tensor, wanted: Tensor) -> float:
    """Of what networks with random weights give, which may be much larger than 1."""
    return apart(found, wanted) / max(1.0, float(wanted.abs().amax()))


@pytest.fixture(scope="module", params=["h36m_s", "pan_s", "h36m256", "pan512"])
def recording(request: pytest.FixtureRequest, human_view_synthesis_reference: Reference) -> Recording:
    found = Recording(human_view_synthesis_reference, request.param)
    if "known.gt_pose_B" not in found:
        pytest.skip(f"{request.param} is not in this recording")
    return found


def test_pose_network(recording: Recording) -> None:
    points, seen = recording.column("in.A.pose_2d.p"), recording["in.A.pose_2d.c"][..., 0, 0]
    wanted = recording.column("out.A.pose_3d.relative.p")
    released = recording.config.size >= RELEASED
    widths = (recording.config.pose_width,) if released else SMALL_WIDTHS
    nets = (recording.fill(PoseNetwork(points.shape[1], width), "p2p.") for width in widths)
    errors = (apart_for_its_size(net(points, seen, recording["in.A.resolution"]), wanted) for net in nets)
    assert next((error for error in errors if error < NETWORK), None) is not None


def test_appearance_encoder(recording: Recording) -> None:
    if "in.A.image" not in recording:
        pytest.skip("this recording has no input picture")
    net = recording.fill(AppearanceEncoder(*recording["out.A.appearance"].shape[1:]), "i2a.")
    assert apart_for_its_size(net(recording["in.A.image"]), recording["out.A.appearance"]) < NETWORK


def test_pose_in_another_camera(recording: Recording) -> None:
    first, second = ((recording[f"in.{c}.R"], recording.column(f"in.{c}.t")) for c in "AB")
    found = between_cameras(recording.column("out.A.pose_3d.p"), first, second)
    assert apart(found, recording.column("out.B.pose_3d.p")) < 1e-5


def test_gaussians(recording: Recording) -> None:
    found, rho = recording.gaussians, recording["known.rho"][0] if "known.rho" in recording else None
    assert apart(found.centres, recording.column("known.mu")[0]) < 1e-6
    variances = recording.column("known.lambd")[0]
    assert apart(found.axes.square().sum(1).clamp(min=1e-6), variances[:, 0]) < 1e-6
    assert apart(found.widths.square(), variances[:, 1]) < 1e-8
    if rho is not None:
        unit = found.axes / found.axes.norm(dim=1, keepdim=True)
        assert apart(unit, rho[..., 0]) < 2e-3  # the original adds noise where an axis is along x


def test_rays(recording: Recording) -> None:
    rays = torch.nn.functional.pad(recording.plane, (0, 1), value=1.0)
    assert apart(rays / rays.norm(dim=2, keepdim=True), recording["known.rays"][0, ..., 0]) < 1e-6


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=["double", "single"])
def test_renderer(recording: Recording, dtype: torch.dtype) -> None:
    if dtype == torch.float64 and recording.config.latent >= RELEASED:
        pytest.skip("minutes of work")
    found, features = recording.gaussians, recording["out.A.appearance"][0].to(dtype)
    made = Gaussians(found.centres.to(dtype), found.axes.to(dtype), found.widths.to(dtype))
    latent = latent_image(recording.plane.to(dtype), made, features, published=True)
    assert apart(latent.alpha, recording["known.alpha_fp64"][0]) < RENDERER
    size = 1.0 if dtype == torch.float64 else max(1.0, float(features.abs().amax()))
    assert apart(latent.features, recording["known.render_fp64"][0]) < RENDERER * size


def test_culling_loses_nothing_that_shows(recording: Recording) -> None:
    """The culled form, given the published background."""
    found, features = recording.gaussians, recording["out.A.appearance"][0]
    shape = recording.plane.float(), found.centres, found.axes, found.widths
    latent = gaussian_image(*shape, features, published_background(*shape))
    assert apart(latent.alpha, recording["known.alpha_fp64"][0]) < RENDERER
    size = max(1.0, float(features.abs().amax()))
    assert apart(latent.features, recording["known.render_fp64"][0]) < 2 * RENDERER * size


def test_decoder(recording: Recording) -> None:
    config, style = recording.config, recording["out.A.appearance"].flatten(1)
    made = recording.fill(Decoder(style.shape[1], config.features, config.base, config.enlarge), "r2i.")
    picture = made(recording["known.render_fp64"].float(), style)
    assert apart_for_its_size(picture, recording["known.image_from_render_fp64"]) < PICTURE


def test_whole_picture(recording: Recording) -> None:
    """Pose and appearance to a picture, nothing recorded between."""
    config = replace(recording.config, pose_width=0)
    generator = Generator(config).eval()
    recording.fill(generator.r2i, "r2i.")
    pose, appearance = recording.column("known.gt_pose_B"), recording["out.A.appearance"]
    with torch.no_grad():
        picture, _ = generator.draw(pose, appearance, [recording.plane.float()])
    assert apart_for_its_size(picture, recording["known.image_from_render_fp64"]) < PICTURE


def test_an_imported_checkpoint_draws_the_recorded_picture(recording: Recording) -> None:
    """In the published layout, with all of its tensors and options; nothing is left over."""
    config = replace(recording.config, encoder=True, pose_width=64)
    with torch.device("meta"):
        shapes = {k: tuple(v.shape) for k, v in Generator(config).state_dict().items() if "primitives" not in k}
    salt = recording.values.salt
    state = {
        f"model.{name}": torch.zeros(()).expand(shape)  # no part of this picture
        if name.startswith(("i2a.", "p2p."))
        else torch.as_tensor(human_view_synthesis(name, shape, salt))
        for name, shape in shapes.items()
    }
    skeleton = config.skeleton_of()
    options = {
        "joints": {name: number for number, name in enumerate(skeleton.joints)},
        "edges": skeleton.limbs,
        "widths": torch.tensor(skeleton.widths)[:, None, None],
        "rendering_resolution": config.latent,
        "target_resolution": config.size,
    }
    found = parse(state, options, Path("fake.ckpt"))
    made = found.config
    assert (made.size, made.latent, made.base, made.skeleton) == (
        config.size,
        config.latent,
        config.base,
        skeleton.name,
    )
    generator = Generator(made).eval().requires_grad_(False)
    generator.load_state_dict(found.generator)
    pose, appearance = recording.column("known.gt_pose_B"), recording["out.A.appearance"]
    picture, _ = generator.draw(pose, appearance, [recording.plane.float()])
    assert apart_for_its_size(picture, recording["known.image_from_render_fp64"]) < PICTURE


def test_decoder_in_training(human_view_synthesis_reference: Reference) -> None:
    values = Recording(human_view_synthesis_reference, "h36m_s")
    style, config = values["out.A.appearance"].flatten(1), values.config
    made = values.fill(Decoder(style.shape[1], config.features, config.base, config.enlarge), "r2i.").train()
    picture = made(values["out.B.render"], style)
    assert apart_for_its_size(picture, torch.as_tensor(values.values["train/image"])) < PICTURE
    for name, value in made.state_dict().items():
        if name.endswith("average"):
            assert apart(value, torch.as_tensor(values.values[f"train/r2i.{name}"])) < 1e-5


def test_gradients_of_the_renderer_are_those_of_its_picture(human_view_synthesis_reference: Reference) -> None:
    values = human_view_synthesis_reference
    pose, K = torch.as_tensor(values["grad/pose"])[0, ..., 0], torch.as_tensor(values["grad/K"])[0]
    wanted, features = torch.as_tensor(values["grad/image"])[0], torch.as_tensor(values["grad/appearance"])[0]
    lens = torch.tensor(LENS, dtype=torch.float32).double()
    rays = plane(K, lens, torch.arange(wanted.shape[2]), torch.arange(wanted.shape[1]))
    primitives = Primitives(next(one for one in SKELETONS.values() if len(one.joints) == len(pose))).double()

    def draw(pose: Tensor, features: Tensor) -> Tensor:
        return latent_image(rays, primitives(pose), features, published=True).features

    assert apart(draw(pose, features), wanted) < 1e-6
    random = np.random.default_rng(0)
    turned, *ways = (torch.as_tensor(random.standard_normal(x.shape)) for x in (wanted, pose, features))
    inputs = [pose.clone().requires_grad_(), features.clone().requires_grad_()]
    (draw(*inputs) * turned).sum().backward()
    slope = sum(float((one.grad * way).sum()) for one, way in zip(inputs, ways) if one.grad is not None)
    step = 1e-7
    ends = [(draw(pose + sign * ways[0], features + sign * ways[1]) * turned).sum() for sign in (step, -step)]
    assert float(ends[0] - ends[1]) / (2 * step) == pytest.approx(slope, rel=1e-4)


def test_discriminator(human_view_synthesis_reference: Reference) -> None:
    values = human_view_synthesis_reference
    critic = fill(Discriminator(), "", values.salt)
    logits, features = critic(torch.as_tensor(values["disc/x"]))
    assert apart_for_its_size(logits, torch.as_tensor(values["disc/logits"])) < NETWORK
    for number, found in enumerate(features):
        if f"disc/feat{number}" in values.values:
            assert apart_for_its_size(found, torch.as_tensor(values[f"disc/feat{number}"])) < NETWORK


def test_names_of_published_tensors(human_view_synthesis_reference: Reference) -> None:
    path: Path = human_view_synthesis_reference.folder / "hvs_state_dicts.json"
    for name, layout in json.loads(path.read_text()).items():
        shapes = {key: tuple(shape) for key, (shape, _) in layout["state_dict"].items()}
        joints = 117 if "Panoptic" in name else 17
        with torch.device("meta"):
            if name.startswith("Pose2D"):
                made = {f"model.{k}": v for k, v in PoseNetwork(joints, POSE_WIDTHS[joints]).state_dict().items()}
            else:
                skeleton = next(one for one in SKELETONS.values() if len(one.joints) == joints)
                size = 512 if "512" in name else 256
                config = Config(skeleton.name, alpha=False, size=size, pose_width=POSE_WIDTHS[joints])
                made = {f"model.{k}": v for k, v in Generator(config).state_dict().items() if "primitives" not in k}
        assert {k: tuple(v.shape) for k, v in made.items()} == {k: v for k, v in shapes.items() if k[:6] == "model."}
