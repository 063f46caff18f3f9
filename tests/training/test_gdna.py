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
from avatar_core.data.capture import CaptureError
from avatar_core.data.scans import ScanCapture
from avatar_core.methods.gdna import coarse
from avatar_core.methods.gdna.body import SmplBody
from avatar_core.methods.gdna.field import Networks
from avatar_core.methods.gdna.lessons import Lessons
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


@pytest.fixture(scope="module")
def coarse_actor(scan_capture: ScanCapture, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of a ball that has hardly learnt; each scan has a code of its own."""
    folder = tmp_path_factory.mktemp("coarse")
    trainer = Trainer(options(scan_capture, folder, 8))
    first = trainer.train_step()
    assert set(first) == {"occupancy", "displacement", "regular", "bone weights", "bones"}
    trainer._save()
    resumed = Trainer(options(scan_capture, folder, 8))
    for one in (trainer, resumed):
        one.train_step()
    for name, value in values(trainer).items():
        torch.testing.assert_close(values(resumed)[name], value, rtol=0, atol=0)
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
    """On few points: the error falls, and weights follow the bones."""
    torch.manual_seed(0)
    networks = Networks(0)
    networks.network.start_as_ball()
    lessons = Lessons(scan_capture, range(len(scan_capture.frames)), SmplBody(scan_capture.body))
    code = torch.zeros(64, requires_grad=True)
    adam = torch.optim.Adam([*networks.parameters(), code], lr=1e-3)
    history: list[dict[str, float]] = []
    for _ in range(12):
        terms = coarse.terms(networks, code, lessons, 0, POINTS, bones=True)
        adam.zero_grad()
        sum(terms.values(), torch.zeros(())).backward()
        assert code.grad is not None and float(code.grad.abs().max()) > 0
        adam.step()
        history.append({name: float(value.detach()) for name, value in terms.items()})
    last = {name: np.mean([entry[name] for entry in history[-4:]]) for name in history[0]}
    for name, share in (("occupancy", 0.98), ("bone weights", 0.99), ("bones", 0.7)):
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
        torch.testing.assert_close(ours, dense, rtol=1e-3, atol=1e-5 + 1e-3 * float(dense.abs().max()))


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
