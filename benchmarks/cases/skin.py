"""One frame of a body: kinematics and skinning; root finding of forward skinning."""

from __future__ import annotations

from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor

from avatar_core.body import load_body
from avatar_core.body.kinematics import relative_transforms
from avatar_core.cuda.broyden import SkinningVolume, find_roots
from avatar_core.cuda.skin import blend, skin_points, sparse_weights
from benchmarks.timing import Case

_POINTS, _STARTS, _STEPS = 20_000, 13, 10


def cases() -> Iterator[Case]:
    torch.manual_seed(0)
    body = load_body()
    rest, dense, centres = (torch.tensor(a) for a in (body.vertices, body.weights, body.joints()))
    weights, joints = sparse_weights(dense)
    pose = 0.3 * torch.randn(len(centres), 3)
    transforms = relative_transforms(pose, centres, body.parents)

    def in_torch() -> Tensor:
        matrix = blend(dense, relative_transforms(pose, centres, body.parents))
        return (matrix[:, :3, :3] @ rest[..., None])[..., 0] + matrix[:, :3, 3]

    yield Case(
        "kinematics and skinning",
        f"{len(rest)} vertices",
        lambda: skin_points(rest, weights, relative_transforms(pose, centres, body.parents), joints),
        {"torch": in_torch},
    )
    side = 1.2 * float(rest.abs().max())
    low, high = (-side, -side, -side / 4), (side, side, side / 4)
    axes = [torch.linspace(a, b, count) for a, b, count in zip(low, high, (64, 64, 16))]
    z, y, x = torch.meshgrid(axes[2], axes[1], axes[0], indexing="ij")
    near = torch.exp(-12 * torch.cdist(torch.stack([x, y, z], -1).view(-1, 3), centres))
    field = (near / near.sum(1, keepdim=True)).T.reshape(-1, 16, 64, 64)
    volume = SkinningVolume.blend(field, transforms, low, high)
    canonical = rest[torch.randint(0, len(rest), (_POINTS,))] + 0.02 * torch.randn(_POINTS, 3)
    posed, starts = volume.forward(canonical), torch.linalg.inv(transforms[:_STARTS])
    yield Case(
        "forward-skinning roots",
        f"{_POINTS} points x {_STARTS} starts",
        lambda: find_roots(posed, volume, starts, _STEPS, 1e-5, 0.1),
        {"torch voxels": lambda: _torch_roots(posed, volume, starts)},
        {"torch voxels": 10},
        40,
    )


def _torch_roots(posed: Tensor, volume: SkinningVolume, starts: Tensor) -> tuple[Tensor, Tensor]:
    """Fast-SNARF's scheme with grid_sample."""
    voxels = volume.transforms[..., :3, :].flatten(3).permute(3, 0, 1, 2)[None].contiguous()
    scale = torch.tensor([2 / (high - low) for low, high in zip(volume.low, volume.high)])

    def lookup(points: Tensor) -> Tensor:
        at = ((points - torch.tensor(volume.low)) * scale - 1)[None, :, None, None]
        found = F.grid_sample(voxels, at, padding_mode="border", align_corners=True)
        return found[0, :, :, 0, 0].T.reshape(-1, 3, 4)

    def residual(matrix: Tensor, points: Tensor, target: Tensor) -> Tensor:
        return (matrix[:, :, :3] @ points[..., None])[..., 0] + matrix[:, :, 3] - target

    x = (torch.einsum("irc,nc->nir", starts[:, :3, :3], posed) + starts[:, :3, 3]).reshape(-1, 3)
    target = posed.repeat_interleave(len(starts), 0)
    matrix = lookup(x)
    inverse, g = torch.linalg.inv(matrix[:, :, :3]), residual(matrix, x, target)
    valid, active = torch.zeros(len(x), dtype=torch.bool), torch.arange(len(x))
    for _ in range(_STEPS):
        dx = -(inverse @ g[..., None])
        x[active] += dx[..., 0]
        after = residual(lookup(x[active]), x[active], target[active])
        dg, g, error = (after - g)[..., None], after, after.norm(dim=1)
        valid[active] = error < 1e-5
        keep = (error >= 1e-5) & (error < 0.1)
        active, dx, dg, g, inverse = (part[keep] for part in (active, dx, dg, g, inverse))
        row = dx.mT @ inverse
        below = row @ dg
        inverse = inverse + (dx - inverse @ dg) / (below + torch.where(below >= 0, 1e-6, -1e-6)) @ row
    return x, valid
