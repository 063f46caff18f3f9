# mypy: ignore-errors
"""What gDNA shows and learns on the CPU and on the emulated GPU; as a script: the case, and a folder to write in."""

from __future__ import annotations

import sys
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from avatar_core.actor import Actor, describe
from avatar_core.body import load_body
from avatar_core.camera import Camera
from avatar_core.controls import Controls
from avatar_core.data.head_capture import open_capture
from avatar_core.methods.gdna import Config, Model, coarse, correspondences, discriminator, fitting, model
from avatar_core.methods.gdna.trainee import STAGES
from training.options import TrainOptions
from training.scans.people import write_scans
from training.scans.prepare import prepare
from training.trainer import Trainer

from .device import DEVICE, Pretend
from .gpu import DRIVER  # before any backward pass

PEOPLE, SIZE, CELL = 2, 32, 0.05


def ball(folder: Path) -> None:
    """A person of all three networks, untrained, whose codes make a difference."""
    torch.manual_seed(0)
    made = Model(Config(PEOPLE, 1, "colour", CELL, 1), load_body())
    made.networks.network.start_as_ball()
    with torch.no_grad():
        made.networks.network.lin4.bias.fill_(0.3)
        for network in (made.networks.norm_network, made.networks.colour_network):
            network.lin8.weight_g.mul_(3)
        for codes in (made.shape, made.detail, made.colour):
            codes.fit(0.3 * torch.randn(PEOPLE, 64))
    document = describe("gdna", made, made.body, {"name": "ball"}, "CC0-1.0")
    Actor(made, made.body, document).save(folder / "ball.actor")


def shown(folder: Path, device: str) -> dict[str, Any]:
    actor = Actor.load(folder / "ball.actor", device)
    camera = Camera.look_at(np.array([0, -0.28, 2]), np.array([0, -0.28, 0]), 0.5, SIZE, SIZE)
    controls = replace(actor.schema.neutral(), betas=np.linspace(-1, 1, 10, dtype=np.float32))
    found: dict[str, Any] = {q: actor.render(controls, camera, q) for q in ("draft", "preview", "final")}
    for picture in ("shaded", "normals"):
        actor.model.config = replace(actor.model.config, picture=picture)
        found[picture] = actor.render(controls, camera, "draft")
    made = found | {"surface": actor.surface(controls, 1), "rig": actor.rigged(controls, 1)}
    return {name: vars(one) for name, one in made.items()} | {"proxy": {"vertices": actor.proxy_mesh(controls)[0]}}


def scans(folder: Path) -> None:
    write_scans(folder / "raw", PEOPLE, CELL, 3)
    prepare(folder / "raw", load_body(), folder / "scans", 500, SIZE, "CC0-1.0")


def learnt(folder: Path, device: str) -> dict[str, Any]:
    """A step of each stage, which begins with the actor of the one before; then both ways to fit the last one."""
    found, start = {}, ""
    for stage in STAGES:
        config = {"stage": stage, "start": start, "points": 100, "cell": CELL, "frequencies": 1}
        output = str(folder / device / stage)
        options = TrainOptions(stage, str(folder / "scans"), "gdna", output, config, 9, pictures=1, pixels=1)
        trainer = Trainer(replace(options, device=device))
        found[stage] = trainer.train_step()
        start = f"{output}.actor"
        trainer.actor({}).save(start)
    person, capture = Actor.load(start, device).model, open_capture(folder / "scans")
    known = capture.frames[0].controls
    begin = Controls(pose=known.pose, betas=known.betas[:10])
    scan = fitting.fit_scan(person, capture.samples(0), begin, 2)
    picture = fitting.fit_normals(person, capture.normals(0, 0), capture.cameras[0].camera, begin, 1)
    return found | {name: dict(enumerate(one.errors)) for name, one in (("scan", scan), ("picture", picture))}


def main(case: str, folder: Path) -> None:
    coarse.BODY_STEPS, correspondences._KEPT, fitting._POINTS, fitting._SPACE = 0, 300, 200, 50
    correspondences._CELL = fitting._CELL = CELL
    correspondences.bake = partial(correspondences.bake, shape=coarse._GRID)
    model._cell = lambda detail: CELL
    discriminator._WIDTHS = dict.fromkeys(discriminator._WIDTHS, 8)
    begin, run = {"shown": (ball, shown), "learnt": (scans, learnt)}[case]
    begin(folder)
    plain = run(folder, "cpu")
    with Pretend():
        there = run(folder, str(DEVICE))
    for name, values in plain.items():
        for key, value in values.items():
            if value is not None and np.size(value):
                print(name, key, float(np.abs(np.subtract(value, there[name][key])).max()))
    print("kernels", *sorted(set(DRIVER.launched)))


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
