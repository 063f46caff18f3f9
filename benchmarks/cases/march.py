"""Rays of a 512 x 512 picture of the free body: its samples, and their compositing. The peer is our own definition in
PyTorch, which is what these ops were before."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

import numpy as np
import torch
from torch import Tensor

from avatar_core.body import load_body
from avatar_core.camera import Camera
from avatar_core.cuda.composite import accumulate, accumulate_reference, sample_weights, weights_reference
from avatar_core.cuda.march import march, march_reference
from avatar_core.render.occupancy import OccupancyGrid
from benchmarks.timing import Case

_SIDE, _STEP, _VOXEL = 512, 0.008, 0.02  # pixels, metres, metres


def cases() -> Iterator[Case]:
    camera = Camera.look_at(np.array([0, -0.1, 2.6]), np.array([0, -0.2, 0]), math.radians(40), _SIDE, _SIDE)
    origins, directions = (torch.as_tensor(array).float() for array in camera.rays())
    grid = OccupancyGrid.around(torch.tensor(load_body().vertices).float(), _VOXEL)
    arguments = grid.bricks, grid.origin, grid.voxel, origins, directions, _STEP
    yield Case("marching", f"{_SIDE}^2 rays", lambda: march(*arguments), {"torch": lambda: march_reference(*arguments)})
    samples = march(*arguments)
    generator = torch.Generator().manual_seed(0)
    depth = torch.rand(samples.ray.numel(), generator=generator) * 0.3
    value = torch.rand(samples.ray.numel(), 3, generator=generator)

    def composited(weigh: Callable[..., Tensor], add: Callable[..., Tensor], backward: bool) -> None:
        inputs = [tensor.clone().requires_grad_(backward) for tensor in (depth, value)]
        weight = weigh(inputs[0], samples.ray)
        result = add(weight, inputs[1], samples.ray, len(origins)), add(weight, None, samples.ray, len(origins))
        if backward:
            (result[0].sum() + result[1].sum()).backward()

    for backward, name in ((False, "compositing"), (True, "compositing, both ways")):
        yield Case(
            name,
            f"{depth.numel()} samples",
            lambda backward=backward: composited(sample_weights, accumulate, backward),  # type: ignore[misc]
            {"torch": lambda backward=backward: composited(weights_reference, accumulate_reference, backward)},  # type: ignore[misc]
            {"torch": 1.0},
        )
