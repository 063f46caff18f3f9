"""gDNA learns people from scans: both stages, through the one trainer."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from avatar_core.actor import Actor
from avatar_core.config import ConfigError
from avatar_core.controls import ControlError, Controls
from avatar_core.data.capture import CaptureError
from avatar_core.data.scans import ScanCapture
from avatar_core.errors import AvatarError
from avatar_core.methods.gdna import coarse, correspondences, discriminator, fitting
from avatar_core.methods.gdna.body import SmplBody
from avatar_core.methods.gdna.discriminator import Discriminator, penalty
from avatar_core.methods.gdna.field import Networks
from avatar_core.methods.gdna.fitting import fit_normals, fit_scan
from avatar_core.methods.gdna.lessons import Lessons, Registered
from avatar_core.methods.gdna.trainee import read_stage
from training.options import TrainOptions
from training.trainer import Trainer

POINTS = 300


def options(capture: ScanCapture, output: Path, steps: int, **config: Any) -> TrainOptions:
    return TrainOptions(
        name="people",
        capture=str(capture.folder),
        method="gdna",
        output=str(output),
        steps=steps,
        pictures=1,
        pixels=1,
        evaluate_pictures=1,
        picture_every=1000,
        config={"points": POINTS, "cell": 0.04, **config},
    )


def values(trainer: Trainer) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in trainer.model.state_dict().items()}  # type: ignore[attr-defined]


@pytest.fixture(autouse=True)
def rough_meshes(monkeypatch: pytest.MonkeyPatch) -> None:
    for room in (correspondences, fitting):
        monkeypatch.setattr(room, "_CELL", 0.04)
    monkeypatch.setattr(correspondences, "_KEPT", 1000)
    monkeypatch.setattr(fitting, "_POINTS", 400)
    monkeypatch.setattr(fitting, "_SPACE", 100)


@pytest.fixture
def small_critic(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(discriminator, "_WIDTHS", dict.fromkeys(discriminator._WIDTHS, 16))


@pytest.fixture(scope="module")
def coarse_actor(scan_capture: ScanCapture, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of a ball that has hardly learnt; each scan has a code of its own."""
    folder = tmp_path_factory.mktemp("coarse")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(coarse, "BODY_STEPS", 1)
        trainer = Trainer(options(scan_capture, folder, 8))
        deformer = {"displacement", "bone weights", "skinning"}
        assert set(trainer.train_step()) == deformer
        assert set(trainer.train_step()) == deformer | {"occupancy", "regular", "bones"}
        trainer._save()
        resumed = Trainer(options(scan_capture, folder, 8))
        for one in (trainer, resumed):
            one.train_step()
        for name, value in values(trainer).items():
            torch.testing.assert_close(values(resumed)[name], value, rtol=1e-4, atol=1e-5)
        return trainer.run()


def test_an_actor_comes_out_of_the_coarse_stage(coarse_actor: Path, scan_capture: ScanCapture) -> None:
    actor = Actor.load(coarse_actor)
    people = len(scan_capture.frames)
    assert actor.schema.latents == {"shape": people - 1}
    assert "novel_view" in actor.metadata["provenance"]["metrics"] and actor.preview is not None
    model: Any = actor._model
    codes = [model.shape(one) for one in model.shape.people]
    assert float((codes[0] - codes[1]).abs().max()) > 1e-4


def test_the_coarse_stage_learns_where_a_body_is(scan_capture: ScanCapture) -> None:
    """On few points: the error falls, weights follow the bones, betas are taken back."""
    torch.manual_seed(0)
    networks = Networks(0)
    networks.network.start_as_ball()
    lessons = Lessons(scan_capture, range(len(scan_capture.frames)), SmplBody(scan_capture.body))
    code = torch.zeros(64, requires_grad=True)
    adam = torch.optim.Adam([*networks.parameters(), code], lr=1e-3)
    history: list[dict[str, float]] = []
    for _ in range(12):
        terms = coarse.terms(networks, code, lessons, 0, POINTS, bones=True)
        terms |= coarse.body_terms(networks, code, lessons, 0)
        adam.zero_grad()
        sum(terms.values(), torch.zeros(())).backward()
        assert code.grad is not None and float(code.grad.abs().max()) > 0
        adam.step()
        history.append({name: float(value.detach()) for name, value in terms.items()})
    last = {name: np.mean([entry[name] for entry in history[-4:]]) for name in history[0]}
    for name, share in (("occupancy", 0.98), ("bone weights", 0.99), ("skinning", 0.97), ("bones", 0.7)):
        assert last[name] < share * history[0][name], name


def test_few_points_of_a_volume_are_those_of_all(scan_capture: ScanCapture) -> None:
    """Also outside of the volume; and so are the gradients."""
    torch.manual_seed(0)
    networks, code = Networks(0), torch.randn(64)
    points = torch.randn(200, 3) * torch.tensor([0.6, 0.7, 0.2])
    found = []
    for person in (networks.person(code), networks.sparse_person(code)):
        at = points.clone().requires_grad_()
        logits = person.occupancy(at)[0]
        weights = list(networks.generator.parameters())
        gradients = torch.autograd.grad(logits.square().sum(), [at, *weights], allow_unused=True)
        found.append([logits, *(gradient for gradient in gradients if gradient is not None)])
    for ours, dense in zip(*reversed(found)):
        torch.testing.assert_close(ours, dense, rtol=1e-3, atol=1e-5 + 1e-3 * float(dense.detach().abs().max()))


def test_what_cannot_be_trained_is_said(scan_capture: ScanCapture, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="'stage' must be"):
        Trainer(options(scan_capture, tmp_path, 1, stage="rough"))
    with pytest.raises(ConfigError, match="did you mean 'points'"):
        Trainer(options(scan_capture, tmp_path, 1, point=3))
    with pytest.raises(ConfigError, match="'points' must be 8"):
        Trainer(replace(options(scan_capture, tmp_path, 1), config={"points": 0}))
    frames = range(len(scan_capture.frames) - 1)
    with pytest.raises(CaptureError, match="split 'train'"):
        Lessons(scan_capture, frames, SmplBody(scan_capture.body))


@pytest.mark.usefixtures("small_critic")
def test_the_fine_stage_learns_normals_and_judges_pictures(
    coarse_actor: Path, scan_capture: ScanCapture, tmp_path: Path
) -> None:
    chosen = options(scan_capture, tmp_path / "fine", 6, stage="fine", start=str(coarse_actor))
    trainer = Trainer(chosen)
    before = values(trainer)
    first = trainer.train_step()
    assert set(first) == {"normals", "regular", "adversarial", "discriminator", "penalty"}
    assert "penalty" not in trainer.train_step()
    changed = {name for name, value in values(trainer).items() if not torch.equal(value, before[name])}
    assert {name.split(".")[0] for name in changed} == {"networks", "details", "critic", "step"}
    assert all("norm_network" in name for name in changed if name.startswith("networks"))
    model, capture = trainer.model.finished(trainer.capture)  # type: ignore[union-attr]
    assert set(capture.frames[0].controls.latents) == {"shape", "detail"}
    assert model.schema.latents["detail"] == len(scan_capture.frames) - 1


def test_normals_of_the_3d_loss_fall(coarse_actor: Path, scan_capture: ScanCapture, tmp_path: Path) -> None:
    config = {"stage": "fine", "start": str(coarse_actor), "adversarial": False}
    trainer = Trainer(options(scan_capture, tmp_path / "fine", 20, **config))
    history = [trainer.train_step()["normals"] for _ in range(14)]
    assert np.mean(history[-4:]) < 0.9 * history[0]


def test_a_later_stage_needs_the_same_scans(coarse_actor: Path, scan_capture: ScanCapture, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="takes none"):
        Trainer(options(scan_capture, tmp_path, 1, stage="coarse", start=str(coarse_actor)))
    with pytest.raises(ConfigError, match="as 'start'"):
        Trainer(options(scan_capture, tmp_path, 1, stage="fine"))
    with pytest.raises(ConfigError, match=f"codes of {len(scan_capture.frames)} scans, the capture has 9"):
        read_stage(coarse_actor, 9)


def test_the_discriminator_has_the_published_layout() -> None:
    """24.0 million parameters for pictures of 256 pixels a side, six blocks; equal pictures have no deviation."""
    with torch.device("meta"):
        full = Discriminator(256, 3)
    shapes = {name: tuple(value.shape) for name, value in full.state_dict().items()}
    assert sum(value.numel() for value in full.parameters()) == pytest.approx(24.0e6, rel=0.01)
    assert shapes["layers.5.conv2.1.weight"] == (512, 512, 3, 3) and shapes["layers.0.skip.0.kernel"] == (4, 4)
    assert shapes["disc_out.final_linear.1.weight"] == (512, 8192)
    torch.manual_seed(0)
    small = Discriminator(32, 3)
    picture = torch.rand(1, 3, 32, 32)
    alone, twice = small(picture), small(picture.repeat(2, 1, 1, 1))
    torch.testing.assert_close(twice, alone.expand(2, 1), rtol=1e-4, atol=1e-5)
    at = picture.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(small(at).sum(), at)
    assert float(penalty(small, picture)) == pytest.approx(float(gradient.square().sum()), rel=1e-4)


def test_a_person_of_the_model_is_found_again(coarse_actor: Path, scan_capture: ScanCapture) -> None:
    """Points that its own field calls inside; the search begins 4 cm beside it."""
    model: Any = Actor.load(coarse_actor)._model
    known, samples = scan_capture.frames[0].controls, scan_capture.samples(0)
    smpl, betas = SmplBody(model.body), torch.as_tensor(known.betas[:10])
    body = Registered(betas, smpl.pose(torch.as_tensor(known.pose), betas).bones, smpl.canonical(betas).vertices)
    person, points = model.networks.sparse_person(model.shape.mean, betas), torch.as_tensor(samples.space[:1500])
    inside = (coarse.queried(person, points, body).logits > 0).numpy()
    assert 0.05 < inside.mean() < 0.95
    own = replace(samples, near=points.numpy(), near_inside=inside, space=points.numpy(), space_inside=inside)
    start = Controls(pose=known.pose, betas=known.betas[:10], transl=np.array([0.04, 0, 0], np.float32))
    fitted = fit_scan(model, own, start, 16)
    assert np.mean(fitted.errors[-4:]) < fitted.errors[0]
    assert abs(fitted.controls.transl[0]) < 0.035
    assert not any(parameter.grad is not None for parameter in model.networks.parameters())


def test_codes_and_pose_are_fitted_to_a_normal_map(coarse_actor: Path, scan_capture: ScanCapture) -> None:
    model: Any = Actor.load(coarse_actor)._model
    known = scan_capture.frames[0].controls
    camera, start = scan_capture.cameras[0].camera, Controls(pose=known.pose, betas=known.betas[:10])
    picture = scan_capture.normals(0, 0)
    fitted = fit_normals(model, picture, camera, start, 6)
    assert np.isfinite(fitted.errors).all() and set(fitted.controls.latents) == {"shape"}
    with pytest.raises(AvatarError, match="must be"):
        fit_normals(model, picture[1:], camera, start, 1)
    with pytest.raises(AvatarError, match="shows nobody"):
        fit_normals(model, np.zeros_like(picture), camera, start, 1)
    with pytest.raises(ControlError, match=r"latents\.shape"):
        fit_normals(model, picture, camera, Controls(latents={"shape": np.zeros(7, np.float32)}), 1)


def test_fitting_follows_the_gradient_of_pose_and_place(scan_capture: ScanCapture) -> None:
    """Against finite differences of the whole query, search and all."""
    torch.manual_seed(0)
    networks = Networks(0).requires_grad_(False)
    networks.network.start_as_ball()
    smpl, known = SmplBody(scan_capture.body), scan_capture.frames[0].controls
    betas, points = torch.as_tensor(known.betas[:10]), torch.as_tensor(scan_capture.samples(0).surface[:60])
    canonical, person = smpl.canonical(betas).vertices, networks.sparse_person(torch.zeros(64), betas)

    def total(turn: torch.Tensor, transl: torch.Tensor) -> torch.Tensor:
        pose = torch.as_tensor(known.pose).index_put((torch.tensor(16),), torch.as_tensor(known.pose)[16] + turn)
        body = Registered(betas, smpl.pose(pose, betas).bones, canonical)
        at = coarse.queried(person, points - transl.detach(), body, transl)
        return at.logits[at.found].tanh().sum()

    turn, transl = torch.zeros(3, requires_grad=True), torch.zeros(3, requires_grad=True)
    gradients = torch.autograd.grad(total(turn, transl), [turn, transl])
    for number, gradient in enumerate(gradients):
        for axis in range(3):
            step = torch.zeros(2, 3)
            step[number, axis] = 2e-3
            change = (total(*step) - total(*-step)) / 4e-3
            assert float(change) == pytest.approx(float(gradient[axis]), rel=0.05, abs=0.05)


@pytest.mark.usefixtures("small_critic")
def test_colours_are_learnt_from_textures(coarse_actor: Path, scan_capture: ScanCapture, tmp_path: Path) -> None:
    config = {"stage": "colour", "start": str(coarse_actor)}
    with pytest.raises(ConfigError, match="sees normals too"):
        Trainer(options(scan_capture, tmp_path, 1, **config))
    trainer = Trainer(options(scan_capture, tmp_path / "colour", 20, adversarial=False, **config))
    history = [trainer.train_step()["colours"] for _ in range(10)]
    assert np.mean(history[-4:]) < 0.85 * history[0]
    actor, capture = trainer._finished({})
    assert set(actor.schema.latents) == {"shape", "colour"}
    assert isinstance(capture, ScanCapture) and capture.picture == "colour"
    frame = actor.render(capture.frames[0].controls, capture.cameras[0].camera, "draft")
    shown = frame.rgba[frame.mask > 0.9, :3]
    assert shown.min() >= 0 and np.ptp(shown, axis=1).max() > 0.01  # not grey
    fitted = fit_normals(actor._model, capture.normals(0, 0), capture.cameras[0].camera, Controls(), 1)
    assert set(fitted.controls.latents) == {"shape", "colour"}
    normals = str(tmp_path / "normals.actor")
    fine = Trainer(
        options(scan_capture, tmp_path / "fine", 9, stage="fine", start=str(coarse_actor), adversarial=False)
    )
    fine.actor({}).save(normals)
    judged = Trainer(options(scan_capture, tmp_path / "judged", 9, stage="colour", start=normals))
    assert set(judged.train_step()) == {"colours", "regular", "adversarial", "discriminator", "penalty"}
