"""A picture of a posed body and its field.

Rays go front to back in waves of a few samples; a ray that has become opaque leaves, so what lies behind the surface
is never looked up. The result does not depend on tiles or waves.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import normalize

from ...camera import Camera
from ...frame import EMPTY_DEPTH, Frame, srgb_to_linear
from ...quality import Quality
from ...render.compositing import accumulate, weights
from ...render.tiles import Watch, render_tiles
from ...render.waves import waves
from .field import Field
from .pose import PosedBody, mix, to_canonical

_TILE = 16384  # rays at a time
_VISIBLE = 1 / 512  # coverage below which a pixel is empty
_EPSILON = 0.008  # metres, finite differences of the density
_STEADY = 0.7  # weight of the body's normal beside the density's


def take(values: Tensor, index: Tensor) -> Tensor:
    """values[index]: rows are copied whole, several times faster than by indexing."""
    return values.index_select(0, index)


class RayCaster:
    """`render` for one pose. shell: [V, 2] metres."""

    def __init__(self, field: Field, posed: PosedBody, shell: Tensor, voxel: float, quality: Quality) -> None:
        self.field, self.posed, self.shell, self.quality = field, posed, shell, quality
        self.grid = posed.grid(shell, voxel, version=0)
        self.reach = float(shell.abs().max())
        self.code = field.surface_code(posed.rotations)  # [V, code]

    def render(self, camera: Camera, watch: Watch) -> Frame:
        """Raises Cancelled."""
        vertices = self.posed.vertices.numpy(force=True)
        return render_tiles(
            camera, self.quality, lambda part: self._tile(part, watch), _TILE, vertices, self.reach, watch
        )

    def _tile(self, camera: Camera, watch: Watch) -> dict[str, np.ndarray]:
        origins, directions = (torch.as_tensor(array, device=self.shell.device) for array in camera.rays())
        colour, coverage, distance = self._march(origins, directions, watch)
        visible = coverage > _VISIBLE
        full = (coverage / (1 - self.quality.stop)).clamp(max=1) * visible
        straight = colour / coverage.clamp(min=1e-6)[:, None]
        distance = distance / coverage.clamp(min=1e-6)
        forward = torch.as_tensor(camera.forward).to(directions)
        depth = torch.where(visible, distance * (directions @ forward), EMPTY_DEPTH)
        normal = torch.zeros_like(directions)
        hit = torch.nonzero(visible).squeeze(1)
        if hit.numel():
            normal[hit] = self._normals(origins[hit] + distance[hit, None] * directions[hit])
        mask = full.numpy(force=True)
        linear = srgb_to_linear(straight.numpy(force=True)).astype(np.float32) * mask[:, None]
        rgba = np.concatenate([linear, mask[:, None]], 1)
        return {"rgba": rgba, "depth": depth.numpy(force=True), "normal": normal.numpy(force=True), "mask": mask}

    def _march(self, origins: Tensor, directions: Tensor, watch: Watch) -> tuple[Tensor, Tensor, Tensor]:
        """Sums over each ray of weight * colour [R, 3] (sRGB), weight [R], weight * distance [R]."""
        rays = len(origins)
        sums, thickness = origins.new_zeros(rays, 5), origins.new_zeros(rays)
        samples = self.grid.sample(origins, directions, self.quality.step)
        for part in waves(samples, thickness, self.quality.stop):
            watch.check()
            ray, distance = samples.ray[part], samples.distance[part]
            points = torch.addcmul(take(origins, ray), distance[:, None], take(directions, ray))
            canonical = to_canonical(self.posed, points, self.reach)
            low, high = canonical.interpolate(self.shell).unbind(1)
            inside = torch.nonzero((canonical.height >= low) & (canonical.height <= high)).squeeze(1)
            if inside.numel() == 0:
                continue
            ray, distance, facing = (take(values, inside) for values in (ray, distance, canonical.facing))
            points, height = take(canonical.points, inside), take(canonical.height, inside)
            code = mix(self.code, take(canonical.vertices, inside), take(canonical.bary, inside))
            density, features, _ = self.field.density(points, height, code)
            weight = weights(density, samples.step, ray, take(thickness, ray))
            seen = torch.nonzero(weight > 1e-4).squeeze(1)
            colour = self.field.colours((take(features[0], seen), take(features[1], seen)), take(facing, seen))
            sums[:, :3] += accumulate(take(weight, seen), colour, take(ray, seen), rays)
            sums[:, 3:] += accumulate(weight, torch.stack([torch.ones_like(distance), distance], 1), ray, rays)
            thickness += accumulate(density * samples.step, None, ray, rays)
        return sums[:, :3], sums[:, 3], sums[:, 4]

    def _normals(self, points: Tensor) -> Tensor:
        """Unit normals [N, 3], world, at points [N, 3] of the visible surface: the direction in which the density
        falls, by differences at the corners of a tetrahedron in canonical space, taken to the world by the inverse
        transpose of the skinning transform; steadied by the body's own normal, as density is rough where the pictures
        show nothing of it."""
        canonical = to_canonical(self.posed, points)
        code = canonical.interpolate(self.code)
        gradient = torch.zeros_like(points)
        for corner in points.new_tensor([[1, -1, -1], [-1, -1, 1], [-1, 1, -1], [1, 1, 1]]):
            density = self.field.density(canonical.points + _EPSILON * corner, canonical.height, code)[0]
            gradient += torch.log1p(density)[:, None] * corner
        turned = (torch.linalg.inv(canonical.matrices).transpose(1, 2) @ gradient[..., None]).squeeze(-1)
        body = normalize(canonical.interpolate(self.posed.surface[:, 15:18]), dim=1)
        return normalize(_STEADY * body - normalize(turned, dim=1), dim=1)
