"""The posed surface as a mesh: marching cubes (Lewiner et al. 2003) over the density, coloured by the field."""

from __future__ import annotations

import numpy as np
import torch
from scipy.ndimage import binary_fill_holes, label
from torch import Tensor

from ...errors import AvatarError
from ...mesh_file import Mesh
from .field import Field
from .pose import PosedBody, to_canonical

_LEVEL = 50.0  # 1/m, the density that counts as surface (as in Neural Actor's own extraction)
_SPECK = 0.01  # of the largest piece's cells; smaller pieces are noise
_CHUNK = 1 << 16
_INSIDE = 0.003  # metres under the surface where colour is asked: on the surface itself it is half air


def extract(field: Field, posed: PosedBody, shell: Tensor, voxel: float, detail: int) -> Mesh:
    """detail: cells of marching cubes along a voxel. What lies deeper in the body than the field was taught counts as
    full, so the mesh is closed and has no second skin. Raises AvatarError where there is no surface."""
    try:
        from skimage.measure import marching_cubes
    except ImportError as error:
        raise AvatarError("meshes need scikit-image: pip install 'avatar-core[mesh]'") from error
    grid = posed.grid(shell, voxel, version=0)
    cell = grid.voxel / detail
    occupied = grid.fine
    for axis in range(3):
        occupied = occupied.repeat_interleave(detail, axis)
    volume = torch.zeros(occupied.shape)
    for part in torch.nonzero(occupied).split(_CHUNK):
        density = _density(field, posed, grid.origin + (part + 0.5) * cell, shell)
        volume[part[:, 0], part[:, 1], part[:, 2]] = density.clamp(max=2 * _LEVEL)
    parts, count = label(binary_fill_holes((volume > _LEVEL).numpy()))
    sizes = np.bincount(parts.ravel(), minlength=2)[1:]
    full = torch.as_tensor(np.isin(parts, 1 + np.flatnonzero(sizes >= _SPECK * sizes.max())))
    volume = torch.where(full, volume.where(volume > _LEVEL, 2 * _LEVEL), volume.clamp(max=_LEVEL * 0.99))
    if count == 0:
        raise AvatarError("the actor has no surface in this pose; was it trained?")
    vertices, faces, normals, _ = marching_cubes(volume.numpy(), _LEVEL, gradient_direction="ascent")
    places = grid.origin + torch.as_tensor(vertices.copy() + 0.5, dtype=torch.float32) * cell
    inward = torch.as_tensor(normals.copy(), dtype=torch.float32)
    colours = torch.cat([_colour(field, posed, part) for part in (places + _INSIDE * inward).split(_CHUNK)])
    return Mesh(places.numpy(), faces.astype(np.int32), colours.numpy())


def _density(field: Field, posed: PosedBody, points: Tensor, shell: Tensor) -> Tensor:
    """[N], 1/m, at world points [N, 3]: none outside of the shell, twice the level of the surface inside of it."""
    at = to_canonical(posed, points)
    low, high = at.interpolate(shell).unbind(1)
    density = torch.where(at.height < low, 2 * _LEVEL, 0.0)
    near = torch.nonzero((at.height >= low) & (at.height <= high)).squeeze(1)
    code = at.interpolate(field.surface_code(posed.rotations))
    density[near] = field.density(at.points[near], at.height[near], code[near])[0]
    return density


def _colour(field: Field, posed: PosedBody, points: Tensor) -> Tensor:
    """[N, 3] display sRGB at world points [N, 3]."""
    at = to_canonical(posed, points)
    code = at.interpolate(field.surface_code(posed.rotations))
    return field.colours(field.density(at.points, at.height, code)[1], at.facing)
