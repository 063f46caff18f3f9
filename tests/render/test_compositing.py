"""Packed compositing is the textbook sum, with the textbook gradient."""

from __future__ import annotations

import torch

from avatar_core.render.compositing import accumulate, ranks, weights
from avatar_core.render.occupancy import OccupancyGrid

RAY = torch.tensor([0, 0, 0, 2, 2, 5])
DENSITY = torch.tensor([10.0, 200, 30, 5, 80, 1000])


def test_weights_are_the_sum_written_out() -> None:
    result, expected = weights(DENSITY, 0.01, RAY), []
    for ray in RAY.unique():
        light = 1.0
        for density in DENSITY[ray == RAY]:
            alpha = 1 - torch.exp(-density * 0.01)
            expected.append(light * alpha)
            light = light * (1 - alpha)
    torch.testing.assert_close(result, torch.stack(expected))
    assert ranks(RAY).tolist() == [0, 1, 2, 0, 1, 0]


def test_a_ray_in_two_parts_is_the_same_ray() -> None:
    whole = weights(DENSITY, 0.01, RAY)
    before = torch.full((2,), float(DENSITY[0]) * 0.01)
    torch.testing.assert_close(weights(DENSITY[1:3], 0.01, RAY[1:3], before), whole[1:3])


def test_gradients() -> None:
    density = DENSITY.double().requires_grad_()
    value = torch.rand(6, 3, dtype=torch.float64)
    assert torch.autograd.gradcheck(lambda d: accumulate(weights(d, 0.01, RAY), value, RAY, 6), density)


def test_rays_sample_every_occupied_voxel_that_they_cross() -> None:
    generator = torch.Generator().manual_seed(0)
    points = torch.rand(60, 3, generator=generator)
    grid = OccupancyGrid.around(points, 0.02)
    origins = torch.tensor([[0.5, 0.5, 3.0]]).expand(60, 3)
    directions = torch.nn.functional.normalize(points - origins, dim=1)
    samples = grid.sample(origins, directions, 0.005)
    places = origins[samples.ray] + samples.distance[:, None] * directions[samples.ray]
    for ray in range(60):
        nearest = (places[samples.ray == ray] - points[ray]).norm(dim=1).min()
        assert nearest < 0.0051  # a step or less beside the point itself
    assert (samples.ray.diff() >= 0).all()
    away = grid.sample(origins, -directions, 0.005)
    assert away.ray.numel() == 0
