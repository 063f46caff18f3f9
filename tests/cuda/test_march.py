"""Marching keeps exactly the steps whose voxel is occupied, whichever way it skips the others."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from avatar_core.cuda.march import march, march_reference, pack_bricks

VOXEL, LOW = 0.02, torch.tensor([-0.4, -0.5, -0.3])


def grid(seed: int, share: float = 0.01) -> Tensor:
    occupied = torch.rand(40, 48, 44, generator=torch.Generator().manual_seed(seed)) < share
    occupied[10:20, 10:20, 10:20] = True
    return occupied


def rays(count: int, seed: int) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    origins = torch.randn(count, 3, generator=generator) * 1.5
    aim = torch.randn(count, 3, generator=generator) * 0.3
    directions = torch.nn.functional.normalize(aim - origins, dim=1)
    return origins, directions, torch.rand(count, generator=generator)


def every_step(occupied: Tensor, origins: Tensor, directions: Tensor, step: float, jitter: Tensor) -> Tensor:
    """Which of the steps [R, K] exist, tried one by one."""
    distance = (torch.arange(int(8 / step)) + jitter[:, None]) * step
    places = (origins[:, None] + distance[..., None] * directions[:, None] - LOW) / VOXEL
    cell, size = places.floor().long(), torch.tensor(occupied.shape)
    inside = ((cell >= 0) & (cell < size)).all(-1) & (distance > 0)
    x, y, z = cell.clamp(min=0).minimum(size - 1).unbind(-1)
    return occupied[x, y, z] & inside


@pytest.mark.parametrize("implementation", [march, march_reference])
@pytest.mark.parametrize("step", [0.004, 0.03, 0.2])
@pytest.mark.parametrize("seed", [0, 1])
def test_every_occupied_step_exists_and_no_other(implementation, step: float, seed: int) -> None:
    occupied = grid(seed)
    origins, directions, jitter = rays(300, seed)
    origins[:20], directions[:20] = torch.rand(20, 3) * 0.5 - 0.25, torch.eye(3)[torch.arange(20) % 3]
    samples = implementation(pack_bricks(occupied), LOW, VOXEL, origins, directions, step, jitter)
    wanted = every_step(occupied, origins, directions, step, jitter)
    wrong = (samples.start.diff() - wanted.sum(1)).abs()
    assert int(wrong.max()) <= 1 and float(wrong.float().mean()) < 0.01  # a step on the very face of a voxel
    good = torch.nonzero(wrong == 0).squeeze(1)
    expected = torch.nonzero(wanted[good])[:, 1]
    kept = torch.isin(samples.ray, good)
    torch.testing.assert_close(samples.distance[kept], (expected + jitter[samples.ray[kept]]) * step)
    assert torch.equal(torch.bincount(samples.ray, minlength=300), samples.start.diff())
    assert (samples.ray.diff() >= 0).all()


def test_backends_agree_without_jitter() -> None:
    origins, directions, _ = rays(2000, 3)
    arguments = pack_bricks(grid(3)), LOW, VOXEL, origins, directions, 0.01
    one, two = march(*arguments), march_reference(*arguments)
    assert float((one.start.diff() != two.start.diff()).float().mean()) < 0.002
    assert one.ray.numel() > 1000


def test_what_is_no_ray_has_no_samples() -> None:
    nan, inf = float("nan"), float("inf")
    directions = torch.tensor([[0.0, 0, 0], [nan, 0, 0], [inf, 0, 0], [1e-40, 0, 0], [0, 0, 1], [1e38, 1e38, 1e38]])
    origins = torch.zeros(6, 3)
    origins[4, 0] = nan
    for implementation in (march, march_reference):
        samples = implementation(pack_bricks(grid(0)), LOW, VOXEL, origins, directions, 0.01)
        assert samples.start.diff()[[0, 1, 2, 4]].sum() == 0
    jitter = torch.tensor([nan, -inf, inf, 0, 1, 2])
    assert torch.isfinite(march(pack_bricks(grid(0)), LOW, VOXEL, origins, directions, 0.01, jitter).distance).all()


def test_nothing_gives_nothing() -> None:
    bricks = pack_bricks(grid(0))
    for implementation in (march, march_reference):
        samples = implementation(bricks, LOW, VOXEL, torch.zeros(0, 3), torch.zeros(0, 3), 0.01)
        assert samples.ray.numel() == 0 and samples.start.tolist() == [0]
        empty = implementation(torch.zeros_like(bricks), LOW, VOXEL, *rays(5, 0)[:2], 0.01)
        assert empty.ray.numel() == 0 and len(empty.start) == 6


def test_views_are_taken() -> None:
    origins, directions, _ = rays(50, 5)
    packed = torch.cat([origins, directions], 1)
    arguments = pack_bricks(grid(5)), LOW, VOXEL
    one = march(*arguments, packed[:, :3], packed[:, 3:], 0.01)
    assert torch.equal(one.distance, march(*arguments, origins, directions, 0.01).distance)


def test_wrong_input_is_said() -> None:
    bricks, (origins, directions, jitter) = pack_bricks(grid(0)), rays(4, 0)
    with pytest.raises(ValueError, match="multiples of 4"):
        pack_bricks(torch.zeros(5, 4, 4, dtype=torch.bool))
    with pytest.raises(ValueError, match="bricks must be"):
        march(bricks.float(), LOW, VOXEL, origins, directions, 0.01)
    with pytest.raises(ValueError, match="rays must be"):
        march(bricks, LOW, VOXEL, origins, directions[:2], 0.01)
    with pytest.raises(ValueError, match="jitter must be"):
        march(bricks, LOW, VOXEL, origins, directions, 0.01, jitter[:2])
    with pytest.raises(ValueError, match="one float type"):
        march(bricks, LOW, VOXEL, origins.double(), directions, 0.01)
    with pytest.raises(ValueError, match="positive"):
        march(bricks, LOW, VOXEL, origins, directions, 0.0)
    with pytest.raises(ValueError, match="one device"):
        march(bricks, LOW, VOXEL, origins.to("meta"), directions, 0.01)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_the_gpu_finds_the_same_samples() -> None:
    arguments = pack_bricks(grid(6)), LOW
    origins, directions, jitter = rays(2000, 6)
    one = march(*arguments, VOXEL, origins, directions, 0.01, jitter)
    bricks, low, origins, directions, jitter = (t.cuda() for t in (*arguments, origins, directions, jitter))
    two = march(bricks, low, VOXEL, origins, directions, 0.01, jitter)
    assert float((one.start.diff() != two.start.cpu().diff()).float().mean()) < 0.002
