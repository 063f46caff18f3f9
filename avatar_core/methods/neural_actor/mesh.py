"""The posed surface of the field as a mesh."""

from __future__ import annotations

import torch
from torch import Tensor

from ...mesh_file import Mesh
from ...render import isosurface
from .field import Field
from .pose import PosedBody, to_canonical


def extract(field: Field, posed: PosedBody, shell: Tensor, voxel: float, detail: int) -> Mesh:
    """detail: cells of marching cubes along a voxel. What lies deeper in the body than the field was taught counts as
    full. Raises AvatarError where there is no surface."""
    code = field.surface_code(posed.rotations)

    def density(points: Tensor) -> Tensor:
        at = to_canonical(posed, points)
        low, high = at.interpolate(shell).unbind(1)
        values = torch.where(at.height < low, 2 * isosurface.LEVEL, 0.0)
        near = torch.nonzero((at.height >= low) & (at.height <= high)).squeeze(1)
        values[near] = field.density(at.points[near], at.height[near], at.interpolate(code)[near])[0]
        return values

    def colour(points: Tensor, _: Tensor) -> Tensor:
        at = to_canonical(posed, points)
        return field.colours(field.density(at.points, at.height, at.interpolate(code))[1], at.facing)

    return isosurface.extract(density, colour, posed.grid(shell, voxel, version=0), detail)
