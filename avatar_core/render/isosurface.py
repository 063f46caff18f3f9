"""The surface of a density as a mesh: marching cubes (Lewiner et al. 2003), coloured."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from scipy.ndimage import binary_fill_holes, label
from torch import Tensor

from ..errors import AvatarError
from ..mesh_file import Mesh
from .occupancy import OccupancyGrid

LEVEL = 50.0  # 1/m, the density that counts as surface (as in Neural Actor's own extraction)
_SPECK = 0.01  # of the largest piece's cells; smaller pieces are noise
_CHUNK = 1 << 16
_INSIDE = 0.003  # metres under the surface where colour is asked: on the surface itself it is half air


def extract(
    density: Callable[[Tensor], Tensor], colour: Callable[[Tensor, Tensor], Tensor], grid: OccupancyGrid, cells: int
) -> Mesh:
    """density: points [N, 3] to [N], 1/m. colour: points and outward unit normals [N, 3] to display sRGB [N, 3]. grid:
    where there may be anything; cells: of marching cubes along a voxel. What is enclosed counts as full, so the mesh is
    closed and has no second skin. Raises AvatarError where there is no surface."""
    try:
        from skimage.measure import marching_cubes
    except ImportError as error:
        raise AvatarError("meshes need scikit-image: pip install 'avatar-core[mesh]'") from error
    cell = grid.voxel / cells
    occupied = grid.fine
    for axis in range(3):
        occupied = occupied.repeat_interleave(cells, axis)
    volume = torch.zeros(occupied.shape, device=occupied.device)
    for part in torch.nonzero(occupied).split(_CHUNK):
        values = density(grid.origin + (part + 0.5) * cell)
        volume[part[:, 0], part[:, 1], part[:, 2]] = values.clamp(max=2 * LEVEL)
    parts, count = label(binary_fill_holes((volume > LEVEL).numpy(force=True)))
    if count == 0:
        raise AvatarError("the actor has no surface in this pose; was it trained?")
    sizes = np.bincount(parts.ravel(), minlength=2)[1:]
    full = torch.as_tensor(np.isin(parts, 1 + np.flatnonzero(sizes >= _SPECK * sizes.max())), device=volume.device)
    volume = torch.where(full, volume.where(volume > LEVEL, 2 * LEVEL), volume.clamp(max=LEVEL * 0.99))
    vertices, faces, normals, _ = marching_cubes(volume.numpy(force=True), LEVEL, gradient_direction="ascent")
    places = grid.origin + torch.as_tensor(vertices.copy() + 0.5).to(volume) * cell
    inward = torch.as_tensor(normals.copy()).to(volume)
    asked = zip((places + _INSIDE * inward).split(_CHUNK), (-inward).split(_CHUNK))
    colours = torch.cat([colour(points, outward) for points, outward in asked])
    return Mesh(places.numpy(force=True), faces.astype(np.int32), colours.numpy(force=True))
