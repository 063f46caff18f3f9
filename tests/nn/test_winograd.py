"""Winograd's convolutions are convolutions."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional

from avatar_core.nn import winograd
from avatar_core.nn.winograd import Winograd


@pytest.mark.parametrize("size", [(1, 1), (4, 4), (9, 14), (33, 5)])
@pytest.mark.parametrize("tile", [2, 4])
@pytest.mark.parametrize("fits", [1, 1 << 19])
def test_they_are_convolutions(size: tuple[int, int], tile: int, fits: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(winograd, "_FITS", fits)  # a stripe at a time, or all stripes together
    torch.manual_seed(0)
    first, second = torch.randn(2, 5, *size), torch.randn(2, 3, 40, 40)[:, :, 1 : 1 + size[0], 2 : 2 + size[1]]
    weight, bias = torch.randn(7, 8, 3, 3) / 72**0.5, torch.randn(7)
    x = torch.cat([first, second], 1)
    wanted = functional.leaky_relu(functional.conv2d(x.double(), weight.double(), bias.double(), padding=1), 0.2)
    found = Winograd(weight, bias, tile)(first, second, slope=0.2)
    assert found.shape == wanted.shape and float((found - wanted).abs().amax()) < 1e-5
    assert float((Winograd(weight, bias, tile)(x) - functional.conv2d(x, weight, bias, padding=1)).abs().amax()) < 1e-5


def test_rounding_is_hardly_more_than_the_plain_sum_has() -> None:
    torch.manual_seed(0)
    x, weight = torch.randn(1, 512, 16, 16), torch.randn(64, 512, 3, 3) / (9 * 512) ** 0.5
    wanted = functional.conv2d(x.double(), weight.double(), padding=1)
    error = Winograd(weight, torch.zeros(64))(x) - wanted
    assert float(error.square().mean().sqrt()) < 4e-6 and float(error.abs().amax()) < 4e-5
