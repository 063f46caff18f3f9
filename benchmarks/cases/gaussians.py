"""108 limbs with 16 features in a picture of 512 x 512, as HumanViewSynthesis draws. The peer is the published, dense
formula in PyTorch, limb by limb in every pixel."""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch
from torch import Tensor

from avatar_core.cuda.gaussians import SPREAD, gaussian_image
from benchmarks.timing import Case

_SIDE, _LIMBS, _FEATURES = 512, 108, 16


def cases() -> Iterator[Case]:
    generator = torch.Generator().manual_seed(0)
    side = (torch.arange(_SIDE) - _SIDE / 2) / (1.5 * _SIDE)
    plane = torch.stack(torch.meshgrid(side, side, indexing="xy"), -1).contiguous()
    centres = torch.randn(_LIMBS, 3, generator=generator) * torch.tensor([0.25, 0.4, 0.15]) + torch.tensor([0, 0, 3.0])
    axes = torch.randn(_LIMBS, 3, generator=generator) * 0.1
    widths = torch.rand(_LIMBS, generator=generator) * 0.065 + 0.01
    features, background = torch.randn(_LIMBS, _FEATURES, generator=generator), torch.tensor(5e-8)

    def both_ways() -> None:
        inputs = [tensor.clone().requires_grad_() for tensor in (centres, axes, widths, features)]
        out = gaussian_image(plane, inputs[0], inputs[1], inputs[2], inputs[3], background)
        (out.features.sum() + out.alpha.sum()).backward()

    yield Case(
        "Gaussian primitives",
        f"{_LIMBS} limbs, {_SIDE}^2",
        lambda: gaussian_image(plane, centres, axes, widths, features, background),
        {"published, torch": lambda: _published(plane, centres, axes, widths, features, background)},
        {"published, torch": 10.0},
    )
    yield Case("Gaussian primitives, both ways", f"{_LIMBS} limbs, {_SIDE}^2", both_ways)


def _published(
    plane: Tensor, centres: Tensor, axes: Tensor, widths: Tensor, features: Tensor, background: Tensor
) -> Tensor:
    """The paper's equations 43 to 85 as they stand, a row of pixels at a time: features [H, W, C]."""
    length = axes.norm(dim=1)
    unit = axes / length[:, None]
    uu = unit[:, :, None] * unit[:, None]
    inverse = (torch.eye(3) - uu) / (widths**2)[:, None, None] + uu / (length**2)[:, None, None]
    of_centre = (inverse @ centres[..., None]).squeeze(-1)
    mm = (of_centre * centres).sum(1)
    rows = []
    for row in plane:
        ray = torch.nn.functional.normalize(torch.nn.functional.pad(row, (0, 1), value=1.0), dim=1)
        rr = torch.einsum("pi,mij,pj->pm", ray, inverse, ray)
        rm = ray @ of_centre.T
        distance = mm - rm * rm / rr
        integral = 0.5 * math.sqrt(math.pi * SPREAD) / rr.sqrt() * torch.exp((-distance / SPREAD).clamp(max=8))
        weight = integral / (1 + (rm / rr) ** 4)
        rows.append(weight @ features / (weight.sum(1, keepdim=True) + background))
    return torch.stack(rows)
