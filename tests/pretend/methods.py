"""Trains a method for a step, writes its actor and renders it, on the CPU and on an emulated GPU; run as a script."""

from __future__ import annotations

import contextlib
import sys
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from avatar_core.actor import Actor
from avatar_core.camera import Camera
from training.heads.trainer import HeadTrainer
from training.people.trainer import PeopleTrainer
from training.trainer import Trainer

from ..training import test_head_views, test_heads, test_people
from . import gpu  # before any gradient: PyTorch makes the queues of devices once
from .device import DEVICE, Pretend

_SMALL: dict[str, Any] = {"pixels": 48, "pictures": 2, "evaluate_pictures": 1}
_DENSE = {"gain": 200.0}  # so that an untrained head is to be seen
_SIDE = 24  # pixels


def trainer_of(kind: str, data: Path, output: Path, device: str) -> Trainer:
    """A run as in the method's own tests. data: where its capture is made."""
    if kind == "npva":
        if not data.exists():
            test_head_views.head_views(data)
        return HeadTrainer(test_head_views.options(data, output, device=device, **_SMALL))
    if kind == "human_view_synthesis":
        capture = test_people.PeopleCapture.open(data) if data.exists() else test_people.sticks(data)
        return PeopleTrainer(test_people.options(capture, output, "views", device=device, **_SMALL))
    config = test_heads.FAST if kind == "nerf_blendshape" else test_heads.PAPER | _DENSE
    return Trainer(replace(test_heads.options(output, kind, config, 10), device=device, **_SMALL))


def main(kind: str) -> None:
    pictures, losses = [], []
    with tempfile.TemporaryDirectory() as folder:
        for device in ("cpu", str(DEVICE)):
            output = Path(folder, device.replace(":", "_"))
            with Pretend() if device != "cpu" else contextlib.nullcontext():
                trainer = trainer_of(kind, Path(folder, "capture"), output, device)
                trainer.train_step()
                trainer._save()
                trainer = trainer_of(kind, Path(folder, "capture"), output, device)  # goes on
                losses.append(trainer.train_step())
                trainer.actor({}).save(output / "made.actor")
                actor = Actor.load(output / "made.actor", device)
                controls = actor.schema.neutral()
                vertices = actor.proxy_mesh(controls)[0]
                centre, size = vertices.mean(0), np.ptp(vertices, 0).max()
                camera = Camera.look_at(centre + np.array([0, 0, 2.2 * size]), centre, 0.6, _SIDE, _SIDE)
                pictures.append(actor.render(controls, camera, "final").rgba)
    plain, there = pictures
    print(f"picture {np.abs(plain - there).max():.3g} of {plain[..., 3].max():.3g}")
    print(f"losses {max(abs(losses[1][name] / value - 1) for name, value in losses[0].items() if value):.3g}")
    print(f"kernels {len(set(gpu.DRIVER.launched))}")


if __name__ == "__main__":
    main(sys.argv[1])
