"""A picture of a posed body and its field.

Rays go front to back in waves of a few samples; a ray that has become opaque leaves, so what lies behind the surface
is never looked up. The result does not depend on tiles or waves.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from ...camera import Camera
from ...frame import EMPTY_DEPTH, Frame, srgb_to_linear
from ...render.compositing import accumulate, ranks, weights
from ..base import Cancelled, Quality
from .field import Field
from .pose import PosedBody, mix, to_canonical

_TILE = 16384  # rays at a time
_WAVE = 4  # samples of a ray at a time
_VISIBLE = 1 / 512  # coverage below which a pixel is empty
_NEAR = 0.02  # metres; a body nearer than this to the camera plane is not bounded in the picture
_EPSILON = 0.003  # metres, finite differences of the density


class RayCaster:
    """`render` for one pose. shell: [V, 2] metres."""

    def __init__(self, field: Field, posed: PosedBody, shell: Tensor, voxel: float, quality: Quality) -> None:
        self.field, self.posed, self.shell, self.quality = field, posed, shell, quality
        self.grid = posed.grid(shell, voxel, version=0)
        self.reach = float(shell.abs().max())
        self.code = field.surface_code(posed.rotations)  # [V, code]

    def render(
        self, camera: Camera, cancel: Callable[[], bool] | None, progress: Callable[[float], None] | None
    ) -> Frame:
        small = camera.scaled(self.quality.scale)
        x0, y0, x1, y1 = self._region(small)
        frame = Frame.empty(small.width, small.height)
        width = x1 - x0
        rows = max(1, _TILE // max(width, 1))
        for top in range(y0, y1 if width > 0 else y0, rows):
            if cancel is not None and cancel():
                raise Cancelled
            bottom = min(top + rows, y1)
            planes = self._tile(small.crop(x0, top, width, bottom - top), cancel)
            for name, plane in planes.items():
                getattr(frame, name)[top:bottom, x0:x1] = plane.reshape(bottom - top, width, *plane.shape[1:])
            if progress is not None:
                progress((bottom - y0) / (y1 - y0))
        if self.quality.scale > 1:
            return frame.reduced(round(self.quality.scale))
        return frame if self.quality.scale == 1 else _enlarge(frame, camera.width, camera.height)

    def _region(self, camera: Camera) -> tuple[int, int, int, int]:
        """Pixels that can see the body: x0, y0, x1, y1."""
        reach = self.reach
        box = torch.stack([self.posed.vertices.amin(0) - reach, self.posed.vertices.amax(0) + reach])
        corners = np.stack(np.meshgrid(*box.T.numpy(), indexing="ij"), -1).reshape(-1, 3)
        if (camera.project(corners)[1] < _NEAR).any() or camera.distortion.any():
            return 0, 0, camera.width, camera.height
        pixels, depth = camera.project(self.posed.vertices.numpy())
        pad = np.ceil(reach * max(camera.K[0, 0], camera.K[1, 1]) / max(depth.min(), _NEAR)) + 2
        low, high = np.floor(pixels.min(0) - pad), np.ceil(pixels.max(0) + pad)
        x0, y0 = (int(np.clip(value, 0, side)) for value, side in zip(low, (camera.width, camera.height)))
        x1, y1 = (int(np.clip(value, 0, side)) for value, side in zip(high, (camera.width, camera.height)))
        return (x0, y0, x1, y1) if x1 > x0 and y1 > y0 else (0, 0, 0, 0)

    def _tile(self, camera: Camera, cancel: Callable[[], bool] | None) -> dict[str, np.ndarray]:
        origins, directions = (torch.as_tensor(array) for array in camera.rays())
        colour, coverage, distance = self._march(origins, directions, cancel)
        visible = coverage > _VISIBLE
        full = (coverage / (1 - self.quality.stop)).clamp(max=1) * visible
        straight = colour / coverage.clamp(min=1e-6)[:, None]
        distance = distance / coverage.clamp(min=1e-6)
        forward = torch.as_tensor(camera.forward, dtype=torch.float32)
        depth = torch.where(visible, distance * (directions @ forward), EMPTY_DEPTH)
        normal = torch.zeros_like(directions)
        hit = torch.nonzero(visible).squeeze(1)
        if hit.numel():
            normal[hit] = self._normals(origins[hit] + distance[hit, None] * directions[hit])
        linear = srgb_to_linear(straight.numpy()).astype(np.float32) * full[:, None].numpy()
        rgba = np.concatenate([linear, full[:, None].numpy()], 1)
        return {"rgba": rgba, "depth": depth.numpy(), "normal": normal.numpy(), "mask": full.numpy()}

    def _march(
        self, origins: Tensor, directions: Tensor, cancel: Callable[[], bool] | None
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Sums over each ray of weight * colour [R, 3] (sRGB), weight [R], weight * distance [R]."""
        rays = len(origins)
        sums, thickness = torch.zeros(rays, 5), torch.zeros(rays)
        samples = self.grid.sample(origins, directions, self.quality.step)
        wave = (ranks(samples.ray) // _WAVE).to(torch.int16).numpy()
        order = torch.as_tensor(np.argsort(wave, kind="stable"))  # NumPy sorts short integers by radix
        opaque = -float(np.log(self.quality.stop))
        for part in order.split(np.bincount(wave).tolist()) if len(order) else ():
            if cancel is not None and cancel():
                raise Cancelled
            part = part[thickness[samples.ray[part]] < opaque]
            ray, distance = samples.ray[part], samples.distance[part]
            canonical = to_canonical(self.posed, origins[ray] + distance[:, None] * directions[ray], self.reach)
            low, high = canonical.interpolate(self.shell).unbind(1)
            inside = torch.nonzero((canonical.height >= low) & (canonical.height <= high)).squeeze(1)
            if inside.numel() == 0:
                continue
            ray, distance, facing = ray[inside], distance[inside], canonical.facing[inside]
            code = mix(self.code, canonical.vertices[inside], canonical.bary[inside])
            density, features, _ = self.field.density(canonical.points[inside], canonical.height[inside], code)
            weight = weights(density, samples.step, ray, thickness[ray])
            seen = torch.nonzero(weight > 1e-4).squeeze(1)
            colour = self.field.colours(features[seen], facing[seen])
            sums[:, :3] += accumulate(weight[seen], colour, ray[seen], rays)
            sums[:, 3:] += accumulate(weight, torch.stack([torch.ones_like(distance), distance], 1), ray, rays)
            thickness += accumulate(density * samples.step, None, ray, rays)
        return sums[:, :3], sums[:, 3], sums[:, 4]

    def _normals(self, points: Tensor) -> Tensor:
        """Unit normals [N, 3], world, at points [N, 3] of the visible surface: the direction in which the density
        falls, by differences at the corners of a tetrahedron in canonical space, taken to the world by the inverse
        transpose of the skinning transform."""
        canonical = to_canonical(self.posed, points)
        code = canonical.interpolate(self.code)
        gradient = torch.zeros_like(points)
        for corner in torch.tensor([[1.0, -1, -1], [-1, -1, 1], [-1, 1, -1], [1, 1, 1]]):
            density = self.field.density(canonical.points + _EPSILON * corner, canonical.height, code)[0]
            gradient += torch.log1p(density)[:, None] * corner
        turned = (torch.linalg.inv(canonical.matrices).transpose(1, 2) @ gradient[..., None]).squeeze(-1)
        return -torch.nn.functional.normalize(turned, dim=1)


def _enlarge(frame: Frame, width: int, height: int) -> Frame:
    """A frame of another size: colour and mask bilinear, depth and normal from the nearest pixel."""

    def resize(plane: np.ndarray, mode: str) -> np.ndarray:
        tensor = torch.as_tensor(plane.reshape(*plane.shape[:2], -1)).permute(2, 0, 1)[None]
        align = {"align_corners": False} if mode == "bilinear" else {}
        result = torch.nn.functional.interpolate(tensor, size=(height, width), mode=mode, **align)
        return result[0].permute(1, 2, 0).reshape(height, width, *plane.shape[2:]).contiguous().numpy()

    rgba, mask = resize(frame.rgba, "bilinear"), resize(frame.mask, "bilinear")
    depth, normal = resize(frame.depth, "nearest-exact"), resize(frame.normal, "nearest-exact")
    empty = depth >= EMPTY_DEPTH  # where bilinear colour spills over the nearest depth, there is nothing to merge
    rgba[empty], mask[empty] = 0, 0
    return Frame(rgba, depth, normal, mask)
