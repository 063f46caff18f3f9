"""Networks in tiny-cuda-nn's layout; its own numbers are in tests/conformance/test_nerf_blendshape.py."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from avatar_core.nn.pcg import pcg32_uniform
from avatar_core.nn.tcnn import PackedMLP, unpack


def pcg32(seed: int, count: int) -> list[float]:
    """The generator as its author writes it (stream 1), one number after the other."""
    multiplier, mask, increment = 6364136223846793005, (1 << 64) - 1, 3
    state = (increment + seed) * multiplier + increment & mask
    found = []
    for _ in range(count):
        mixed, turn = (state >> 18 ^ state) >> 27 & 0xFFFFFFFF, state >> 59
        word = (mixed >> turn | mixed << (-turn & 31)) & 0xFFFFFFFF
        found.append((word >> 9) * 2.0**-23)
        state = state * multiplier + increment & mask
    return found


def test_pcg32_streams() -> None:
    seeds = np.array([0, 7, 1337, 2**40])
    np.testing.assert_array_equal(pcg32_uniform(seeds, 50), [pcg32(int(seed), 50) for seed in seeds])
    assert pcg32_uniform(seeds, 0).shape == (4, 0)


@pytest.mark.parametrize(("inputs", "outputs", "width", "layers"), [(10, 9, 16, 2), (64, 65, 64, 4), (80, 3, 64, 1)])
def test_network_is_its_matrices(inputs: int, outputs: int, width: int, layers: int) -> None:
    network = PackedMLP(inputs, outputs, width, layers).double()
    x = torch.randn(7, inputs, dtype=torch.float64)
    matrices = network.matrices()
    assert len(matrices) == layers + 1 and all(side % 16 == 0 for matrix in matrices for side in matrix.shape)
    y = torch.cat([x, torch.ones(7, matrices[0].shape[1] - inputs, dtype=torch.float64)], 1)
    for matrix in matrices[:-1]:
        y = torch.relu(y @ matrix.T)
    torch.testing.assert_close(network(x), (y @ matrices[-1].T)[:, :outputs])
    network(x).sum().backward()
    assert network.params.grad is not None
    grad = unpack(network.params.grad, network.shapes)
    assert bool((grad[-1][:outputs] != 0).any()) and not bool(grad[-1][outputs:].any())


def test_another_length_is_refused() -> None:
    with pytest.raises(ValueError, match="20480 parameters, got"):
        unpack(torch.zeros(3), ((64, 64), (64, 64), (64, 64), (64, 64), (64, 64)))
