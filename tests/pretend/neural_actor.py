"""Renders and trains both configurations of Neural Actor on a device that is none, or with the word `kernels` on an
emulated GPU; run as a script."""

from __future__ import annotations

import sys
from dataclasses import replace

import numpy as np
import torch

from avatar_core.body import load_body
from avatar_core.camera import Camera
from avatar_core.controls import Controls
from avatar_core.data.texture_maps import TextureMaps
from avatar_core.methods.base import RayBatch
from avatar_core.methods.neural_actor import paper
from avatar_core.methods.neural_actor.config import Config
from avatar_core.methods.neural_actor.model import Model
from avatar_core.quality import Quality

QUALITY = Quality(0.02, 1.0, 0.01)


def made(kind: str) -> Model | paper.Model:
    torch.manual_seed(0)
    if kind == "fast":
        return Model(Config(levels=4, log2_table=10, finest_resolution=64), load_body())
    config = paper.Config(encoder="compact", texture_size=32, sampler=kind, surface="seamless", views="root")
    return paper.Model(config, load_body())


class Grey(TextureMaps):
    """Maps without a capture."""

    def texture(self, frame: int) -> torch.Tensor:
        return torch.full((self.size, self.size, 3), 0.5, device=self.device)

    def confidence(self, frame: int) -> torch.Tensor:
        return torch.ones(self.size, self.size, device=self.device)


def main(kind: str, *words: str) -> None:
    if words:
        from . import gpu  # noqa: F401 - before any gradient: PyTorch makes the queues of devices once

    model = made(kind).eval()
    camera = Camera.look_at(np.array([0, 0, 3.0]), np.array([0, -0.1, 0]), 0.8, 10, 10)
    pose = model.schema.neutral()
    plain = model.render(pose, camera, QUALITY)

    from .device import DEVICE, Pretend

    with Pretend():
        model.to(DEVICE)
        model.after_step(1, 2)  # forgets what it kept
        there = model.render(pose, camera, QUALITY)
        model.proxy_mesh(pose)
        print(f"picture {np.abs(plain.rgba - there.rgba).max():.3g} of {plain.mask.max():.3g}")
        if isinstance(model, paper.Model):
            model._maps = Grey(None, [0], 32, DEVICE)  # type: ignore[arg-type]
        else:
            model._training_poses = [pose]
        correction = torch.zeros(24, 3, device=DEVICE).requires_grad_(), torch.zeros(3, device=DEVICE).requires_grad_()
        batch = batch_of(pose, camera)
        optimizer = torch.optim.Adam([*model.parameters(), *correction], 1e-3)
        for each in (batch, replace(batch, correction=correction)):
            losses = model.train().losses([each], 0.9)
            optimizer.zero_grad()
            torch.stack(list(losses.values())).sum().backward()
            optimizer.step()
            model.after_step(250, 500)
            print("losses", {name: float(value.detach()) for name, value in losses.items()})


def batch_of(pose: Controls, camera: Camera) -> RayBatch:
    pixels = np.stack(np.meshgrid(np.arange(4.0, 7), np.arange(4.0, 7)), -1).reshape(-1, 1, 2) + 0.5
    return RayBatch(0, pose, camera, pixels, np.full((len(pixels), 4), 0.7, np.float32))


if __name__ == "__main__":
    main(*sys.argv[1:])
