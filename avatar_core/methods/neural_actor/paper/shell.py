"""The published field looked at near the body alone: the same picture from a fraction of the samples.

Voxels in the posed body and near it bound the samples, so that a ray has several short intervals and none in the gaps
between limbs. What lies deep inside counts as well: rays that the surface stops never get there, but a field that is
hardly trained is seen through. Samples are taken from front to back, density first, and colour only where something is
seen.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from scipy.ndimage import binary_fill_holes
from torch import Tensor

from ....quality import Quality
from ....render.compositing import accumulate, weights
from ....render.occupancy import OccupancyGrid
from ....render.waves import waves
from .geometry import PosedMesh
from .rays import EMPTY, Pixels
from .renderer import Renderer

_VOXEL = 0.02  # metres
_SEEN = 1e-4  # weight below which a sample's colour does not matter


class Shell:
    """The space within `reach` metres of a posed mesh, and inside of it, in the frame's space."""

    def __init__(self, mesh: PosedMesh, reach: float) -> None:
        self.mesh, self.reach = mesh, reach
        hollow, device = OccupancyGrid.near(mesh.bvh, reach, _VOXEL), mesh.vertices.device
        full = torch.as_tensor(binary_fill_holes(hollow.fine.numpy()), device=device)
        self.grid = OccupancyGrid(full, hollow.origin.to(device), hollow.voxel)

    def march(
        self,
        renderer: Renderer,
        folded: Tensor,
        rays: tuple[Tensor, Tensor],
        directions: Tensor,
        quality: Quality,
        check: Callable[[], None],
    ) -> Pixels:
        """As Renderer.render, a sample every `quality.step` metres; a ray that less than `quality.stop` of the light
        passes counts as full."""
        origins, along = rays
        count = len(directions)
        sums, thickness = along.new_zeros(count, 5), along.new_zeros(count)
        samples = self.grid.sample(origins, along, quality.step)
        for part in waves(samples, thickness, quality.stop):
            check()
            ray, distance = samples.ray[part], samples.distance[part]
            at = self.mesh.locate(origins[ray] + distance[:, None] * along[ray])
            near = torch.nonzero((at.distance2 < self.reach**2) | (at.local[:, 2] < 0)).squeeze(1)
            ray, distance = ray[near], distance[near]
            found = renderer.look(at.at(near), folded)
            density = torch.relu(found.density)
            weight = weights(density, samples.step, ray, thickness[ray])
            seen = torch.nonzero(weight > _SEEN).squeeze(1)
            colour = renderer.colours(found.at(seen), directions[ray[seen]])
            sums[:, :3] += accumulate(weight[seen], colour, ray[seen], count)
            sums[:, 3:] += accumulate(weight, torch.stack([torch.ones_like(distance), distance], 1), ray, count)
            thickness += accumulate(density * samples.step, None, ray, count)
        full = (sums[:, 3] / (1 - quality.stop)).clamp(max=1)
        share = (full / sums[:, 3].clamp(min=1e-6))[:, None]
        missed = 1 - full
        return Pixels(sums[:, :3] * share + missed[:, None], missed, sums[:, 4] * share[:, 0] + EMPTY * missed)
