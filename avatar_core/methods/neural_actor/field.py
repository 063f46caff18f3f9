"""The canonical field: density and colour at a canonical point, for a pose.

Neural Actor's texture map is, in this configuration, a pose code on the surface: every vertex mixes learnt linear codes
of the rotations of the joints that move it or its neighbours (so that a fold at the elbow knows the elbow alone). A
small network turns the code and coarse features of the point into a residual deformation (Neural Actor, eq. 6) and an
appearance code; the fine hash grid is read at the deformed point.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ...nn.encoding import HashGrid, evaluate, mlp
from .config import Config

_GEOMETRY = 16  # features handed from density to colour
_APPEARANCE = 8
_DENSITY_SCALE = 25.0  # 1/m at a raw value of zero
_MAX_RAW = 6.0

Features = tuple[Tensor, Tensor]  # [N, 16] and [N, 8]


class Field(nn.Module):
    """bounds: [2, 3] metres, the canonical box that the hash grids fill. spread: [V, J] how much of each joint's
    code a vertex sees, rows sum to 1."""

    bounds: Tensor
    spread: Tensor

    def __init__(self, config: Config, bounds: Tensor, spread: Tensor) -> None:
        super().__init__()
        self.config = config
        self.register_buffer("bounds", bounds, persistent=False)
        self.register_buffer("spread", spread, persistent=False)
        joints = spread.shape[1]
        self.joint_code = nn.Parameter(0.1 * torch.randn(joints, 9, config.code))
        self.coarse = HashGrid(6, 2, 13, 8, 96)
        self.fine = HashGrid(config.levels, 2, config.log2_table, config.base_resolution, config.finest_resolution)
        self.deform = mlp(self.coarse.width + config.code, config.hidden // 2, 3 + _APPEARANCE, 2)
        self.geometry = mlp(self.fine.width + _APPEARANCE + 1, config.hidden, 1 + _GEOMETRY, 1)
        self.colour = mlp(_GEOMETRY + _APPEARANCE + 1, config.hidden, 3, 2)
        for parameter in self.deform[-1].parameters():  # starts without deformation
            nn.init.zeros_(parameter)

    def surface_code(self, rotations: Tensor) -> Tensor:
        """rotations [J, 3, 3] of the pose to codes [V, code]. The root's rotation is left out: turning the actor
        changes nothing."""
        feature = (rotations - torch.eye(3, device=rotations.device)).reshape(-1, 9)
        feature = torch.cat([torch.zeros_like(feature[:1]), feature[1:]])
        return self.spread @ torch.einsum("jf,jfc->jc", feature, self.joint_code)

    def density(self, points: Tensor, height: Tensor, code: Tensor) -> tuple[Tensor, Features, Tensor]:
        """Canonical points [N, 3], heights [N] and codes [N, code] to density [N] (1/m), features for `colours`, and
        the residual deformation [N, 3] metres."""
        per_metre = 1 / (self.bounds[1] - self.bounds[0])
        unit = (points - self.bounds[0]) * per_metre  # beyond the box, hash grids go on as at its wall
        residual = evaluate(self.deform, self.coarse(unit), code)
        offset = self.config.max_offset * torch.tanh(residual[:, :3].contiguous())
        appearance = residual[:, 3:]
        fine = self.fine(torch.addcmul(unit, offset, per_metre))
        raw = evaluate(self.geometry, fine, appearance, 20 * height[:, None])
        density = _DENSITY_SCALE * torch.exp(raw[:, 0].clamp(max=_MAX_RAW))
        return density, (raw[:, 1:], appearance), offset

    def colours(self, features: Features, facing: Tensor) -> Tensor:
        """Display sRGB in [0, 1]: [N, 3]. facing: [N], how far the surface looks up: soft light from above, which
        stays right when the actor turns."""
        return torch.sigmoid(evaluate(self.colour, *features, facing[:, None]))


def joint_spread(weights: Tensor, parents: tuple[int, ...]) -> Tensor:
    """Skinning weights [V, J] widened to parents and children in the skeleton: [V, J], rows sum to 1."""
    joints = len(parents)
    near = torch.eye(joints)
    for child, parent in enumerate(parents):
        if parent >= 0:
            near[child, parent] = near[parent, child] = 0.5
    wide = weights @ near.to(weights)
    return wide / wide.sum(1, keepdim=True).clamp(min=1e-6)
