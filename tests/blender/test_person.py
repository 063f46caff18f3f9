"""A person of an actor that has codes becomes an ordinary mesh in real Blenders, which moves as avatar_core says."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import windows
from blenders import ROOT, Studio

from avatar_core.actor import Actor, describe
from avatar_core.body import load_body
from avatar_core.commands.vary import vary
from avatar_core.controls import Controls
from avatar_core.methods.gdna import Config, Model

CLOSE = 1e-4  # metres


@pytest.fixture(scope="session")
def people(tmp_path_factory: pytest.TempPathFactory) -> Actor:
    """An untrained actor: a bumpy ball around the pelvis, that all bones move."""
    torch.manual_seed(0)
    body = load_body(ROOT / "tests" / "data" / "reference" / "smpl_synth.npz")
    model = Model(Config(people=5, frequencies=4, colours=4), body)
    networks = model.networks
    networks.network.start_as_ball()
    with torch.no_grad():
        networks.network.lin4.bias.fill_(0.35)
        networks.deformer.lbs_network.lin4.weight_g.mul_(0.5)
        networks.deformer.disp_network.lin4.weight_g.mul_(0.1)
        for number in range(9):
            for network in (networks.norm_network, networks.colour_network):
                getattr(network, f"lin{number}").weight_g.mul_(3)
        for codes in (model.shape, model.detail, model.colour):
            codes.fit(0.3 * torch.randn(5, 64))
    actor = Actor(model.eval(), body, describe("gdna", model, body, {"name": "people"}, "CC0-1.0"))
    path = tmp_path_factory.mktemp("people") / "people.actor"
    actor.save(path)
    return Actor.load(path)


@pytest.fixture(scope="session")
def made(studio: Studio, people: Actor) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    folder = studio.folder / "person"
    folder.mkdir()
    people.save(folder / "people.actor")
    done = studio.script("person", str(folder / "people.actor"), str(folder))
    assert done.returncode == 0, done.stdout + done.stderr
    line = next(line for line in done.stdout.splitlines() if line.startswith("REPORT "))
    with np.load(folder / "posed.npz") as stored:
        return json.loads(line.removeprefix("REPORT ")), dict(stored)


def test_mesh_moves_like_the_actor(people: Actor, made: tuple[dict[str, Any], dict[str, np.ndarray]]) -> None:
    report, posed = made
    assert report["groups"] == list(people.schema.joints) and len(report["groups"]) == 24
    latents = {name: np.array(values, np.float32) for name, values in report["codes"].items()}
    betas = np.zeros(10, np.float32)
    betas[[0, 3]] = 1.5, -1.0
    assert len(posed["pose"]) == 100
    for pose, transl, theirs in zip(posed["pose"], posed["transl"], posed["vertices"]):
        ours = people.surface(Controls(pose=pose, transl=transl, betas=betas, latents=latents), 1)
        apart = np.linalg.norm(ours.vertices - theirs, axis=1).max()
        assert apart < CLOSE
    assert np.ptp(posed["vertices"], axis=0).max() > 0.3, "poses must differ"


def test_codes_are_sampled_and_keyed(people: Actor, made: tuple[dict[str, Any], dict[str, np.ndarray]]) -> None:
    report, _ = made
    (first,) = vary(people.schema, "sample", 1, 3, [people.schema.neutral()])
    for name, values in first.latents.items():
        np.testing.assert_allclose(report["codes"][name], values, atol=1e-6)
    np.testing.assert_allclose(report["between"], 0.5, atol=0.01)  # eased in the middle of 20 frames


def test_colours_normals_and_folds_are_those_of_the_actor(
    people: Actor, made: tuple[dict[str, Any], dict[str, np.ndarray]]
) -> None:
    report, posed = made
    latents = {name: np.array(values, np.float32) for name, values in report["codes"].items()}
    betas = np.zeros(10, np.float32)
    betas[[0, 3]] = 1.5, -1.0
    wanted = people.rigged(Controls(latents=latents, betas=betas), 1)
    assert np.ptp(wanted.colours) > 0.01 and 1e-4 < np.abs(wanted.relief).max() <= 0.02
    np.testing.assert_allclose(posed["colours"], wanted.colours, atol=2e-3)
    np.testing.assert_allclose(posed["normals"], wanted.normals, atol=1e-3)
    np.testing.assert_allclose(posed["relief"], wanted.relief, atol=1e-5)


def test_shape_keys_follow_the_body(made: tuple[dict[str, Any], dict[str, np.ndarray]]) -> None:
    report, _ = made
    assert report["keys"] == ["Basis", *(f"beta_{i:02d}" for i in range(10)), "detail"]
    assert report["followed"] == pytest.approx([0.5, 0.5])
    assert {"detail_normal", "Color"} <= set(report["attributes"])


def test_cycles_renders_it_and_other_programs_open_it(made: tuple[dict[str, Any], dict[str, np.ndarray]]) -> None:
    report, _ = made
    assert report["hidden"] and 0.02 < report["picture"]["covered"] < 0.9
    for kind, found in report["files"].items():
        assert found["apart"] < CLOSE and found["bones"] == 24, (kind, found)
    assert report["files"]["glb"]["keys"] >= 12


def test_eevee_shows_what_cycles_shows(studio: Studio, windowed: None, people: Actor) -> None:
    """EEVEE needs a window: its pixels are those of Cycles, lit and coloured much alike."""
    people.save(studio.folder / "people.actor")
    with windows.window(studio, "eevee_window", str(studio.folder / "people.actor")) as window:
        report = json.loads(window.wait_for("eevee"))
    assert report["covered"]["eevee"] > 0.05 and report["overlap"] > 0.95
    np.testing.assert_allclose(report["colour"]["eevee"], report["colour"]["cycles"], atol=0.08)
    assert min(report["colour"]["eevee"]) > 0.05


def test_wrong_requests_are_said(people: Actor, tiny_actor: Path) -> None:
    from avatar_core.errors import AvatarError

    with pytest.raises(AvatarError, match="bones can deform"):
        Actor.load(tiny_actor).rigged(Actor.load(tiny_actor).schema.neutral())
    with pytest.raises(AvatarError, match=r"latents\.shape.*\(4,\).*\(3,\)"):
        people.rigged(Controls(latents={"shape": np.zeros(3, np.float32)}))
