"""Planes beside the colour: limbs and depth on all of the person, coverage where no network learnt it."""

from __future__ import annotations

import torch
from scipy.ndimage import distance_transform_edt
from torch import Tensor
from torch.nn import functional

from ...cuda.gaussians import gaussian_image
from .primitives import Gaussians

_WIDER = 3.0  # than limbs are drawn: about what they look like
_FAINT = 1e-9  # weight of the background, so that limbs reach far
_CLOSE, _FAR = 0.03, 0.12  # of the background's colour: distances at which a guess sees nothing, and all
_REACH = 9  # pixels in 256 around a limb's wide picture where a guess sees the person


def limb_planes(plane: Tensor, gaussians: Gaussians) -> tuple[Tensor, Tensor]:
    """Depth [H, W] (planar, metres) and the Gaussian that shows [H, W], in and about a person; 0 and -1 far away."""
    none = gaussians.centres.new_zeros(len(gaussians.centres), 0)
    weight = torch.tensor(_FAINT).to(gaussians.centres)
    found = gaussian_image(plane, gaussians.centres, gaussians.axes, _WIDER * gaussians.widths, none, weight)
    return found.depth, found.limb


def spread(values: Tensor, known: Tensor, wanted: Tensor) -> Tensor:
    """Planes [C, H, W] where [H, W] `wanted`, from the nearest pixel that is `known`. Nothing changes where all
    that is wanted is known, or nothing is."""
    if not bool((wanted & ~known).any()) or not bool(known.any()):
        return values
    if known.is_cuda:
        nearest = _flooded(known)
    else:
        row, column = distance_transform_edt(~known.numpy(), return_distances=False, return_indices=True)
        nearest = torch.as_tensor(row).long() * known.shape[1] + torch.as_tensor(column)
    return values.flatten(1)[:, nearest.flatten()].view(values.shape)


def _flooded(known: Tensor) -> Tensor:
    """Indices [H, W] of the pixels that are known and nearest, or nearly so: jump flooding."""
    height, width = known.shape
    rows, columns = torch.meshgrid(
        torch.arange(height, device=known.device), torch.arange(width, device=known.device), indexing="ij"
    )
    seed = torch.where(known, rows * width + columns, -1)
    step = 1 << (max(height, width) - 1).bit_length() - 1
    distance = torch.where(known, 0, 1 << 40)
    while step:
        for dy in (-step, 0, step):
            for dx in (-step, 0, step):
                moved = functional.pad(seed, (step, step, step, step), value=-1)
                moved = moved[step + dy : step + dy + height, step + dx : step + dx + width]
                apart = (moved // width - rows) ** 2 + (moved % width - columns) ** 2
                better = (moved >= 0) & (apart < distance)
                seed, distance = torch.where(better, moved, seed), torch.where(better, apart, distance)
        step //= 2
    return seed.clamp(min=0)


def guessed_alpha(colour: Tensor, background: Tensor, near_limbs: Tensor) -> Tensor:
    """[H, W]: how far colours [3, H, W] are from the background's [3], about limbs [H, W] bool only. Approximate."""
    apart = (colour - background[:, None, None]).abs().amax(0)
    share = ((apart - _CLOSE) / (_FAR - _CLOSE)).clamp(0, 1)
    reach = max(1, _REACH * colour.shape[1] // 256)
    across = functional.max_pool2d(near_limbs[None].float(), (1, 2 * reach + 1), 1, (0, reach))
    wide = functional.max_pool2d(across, (2 * reach + 1, 1), 1, (reach, 0))[0]
    return share * share * (3 - 2 * share) * wide


def tube_normals(plane: Tensor, depth: Tensor, limb: Tensor, gaussians: Gaussians) -> Tensor:
    """[H, W, 3] in the camera's frame, unit: of round tubes about the limbs; zero where there is no limb."""
    which = limb.clamp(min=0)
    axis = functional.normalize(gaussians.axes, dim=1)[which]
    ray = functional.pad(plane, (0, 1), value=1.0)
    aside = depth[..., None] * ray - gaussians.centres[which]
    aside = aside - (aside * axis).sum(-1, keepdim=True) * axis
    towards = -ray + (ray * axis).sum(-1, keepdim=True) * axis
    towards = functional.normalize(towards, dim=-1)
    radius = (_WIDER * gaussians.widths)[which][..., None] / 2
    lateral = (aside - (aside * towards).sum(-1, keepdim=True) * towards) / radius
    squared = lateral.square().sum(-1, keepdim=True)
    normal = functional.normalize(lateral + (1 - squared).clamp(min=0.05).sqrt() * towards, dim=-1)
    return torch.where((limb >= 0)[..., None] & torch.isfinite(normal), normal, 0.0)
