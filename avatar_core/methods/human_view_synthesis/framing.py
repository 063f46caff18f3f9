"""Which part of a camera's picture the networks see: a square about the person, as large there as in training."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from ...camera import Camera
from .lens import plane

_NEAR = 0.05  # metres before the camera
_LARGEST = 1 << 16  # pixels a side


@dataclass(frozen=True)
class Window:
    """The square of `side` pixels whose top left pixel is at column x, row y of the picture, also outside of it."""

    x: int
    y: int
    side: int

    def camera(self, camera: Camera, pixels: int) -> Camera:
        """The camera that sees the window in `pixels` a side. camera: that of the picture."""
        intrinsics = camera.K.copy()
        intrinsics[0, 2] -= self.x
        intrinsics[1, 2] -= self.y
        scaled = np.diag([pixels / self.side, pixels / self.side, 1.0]) @ intrinsics
        return Camera(pixels, pixels, scaled, camera.world_to_camera, camera.distortion)

    def place(self, planes: Tensor, width: int, height: int, nearest: bool = False) -> Tensor:
        """Planes [C, s, s] of the window as those of the picture [C, height, width]; zero outside of the window."""
        result = planes.new_zeros(len(planes), height, width)
        x0, y0 = max(self.x, 0), max(self.y, 0)
        x1, y1 = min(self.x + self.side, width), min(self.y + self.side, height)
        if x0 >= x1 or y0 >= y1:
            return result
        own = planes.shape[1]
        if own == self.side:
            part = planes[:, y0 - self.y : y1 - self.y, x0 - self.x : x1 - self.x]
        elif nearest or own < self.side:
            part = self._sampled(planes, (x0, x1, y0, y1), nearest)
        else:
            size = self.side, self.side
            small = functional.interpolate(planes[None], size, mode="bilinear", align_corners=False, antialias=True)[0]
            part = small[:, y0 - self.y : y1 - self.y, x0 - self.x : x1 - self.x]
        result[:, y0:y1, x0:x1] = part
        return result

    def _sampled(self, planes: Tensor, box: tuple[int, int, int, int], nearest: bool) -> Tensor:
        x0, x1, y0, y1 = box
        x = (torch.arange(x0, x1, device=planes.device) + 0.5 - self.x) * (2 / self.side) - 1
        y = (torch.arange(y0, y1, device=planes.device) + 0.5 - self.y) * (2 / self.side) - 1
        grid = torch.stack(torch.meshgrid(x, y, indexing="xy"), -1)[None].to(planes.dtype)
        mode = "nearest" if nearest else "bilinear"
        return functional.grid_sample(planes[None], grid, mode, "border", align_corners=False)[0]


def window(camera: Camera, points: np.ndarray, extent: float, pixels: int) -> Window | None:
    """A square that spans `extent` metres at the person, in the middle of what is known of points [J, 3] (world); the
    whole picture where it has `pixels` a side. None where nobody is before the camera."""
    known = points[np.isfinite(points).all(1)].astype(np.float64)
    local = known @ camera.world_to_camera[:3, :3].T + camera.world_to_camera[:3, 3]
    ahead = local[local[:, 2] > _NEAR]
    if not len(ahead):
        return None
    if camera.width == camera.height == pixels:
        return Window(0, 0, pixels)
    middle = (ahead.min(0) + ahead.max(0)) / 2
    focal = (camera.K[0, 0] + camera.K[1, 1]) / 2
    side = round(min(max(focal * extent / middle[2], 16.0), _LARGEST))
    centre = camera.project(known[local[:, 2] > _NEAR])[0]
    centre = (centre.min(0) + centre.max(0)) / 2
    centre = np.clip(centre, -_LARGEST, _LARGEST + np.array([camera.width, camera.height]))
    x, y = (round(value - side / 2) for value in centre)
    return Window(x, y, side)


def latent_plane(camera: Camera, latent: int, published: bool) -> Tensor:
    """Rays [latent, latent, 2] float64 of a square camera's picture in so many pixels a side.

    Published models look through the first pixels of blocks, not through the middles of blocks.
    """
    block = camera.width / latent
    places = torch.arange(latent, dtype=torch.float64)
    places = places * block + 0.5 if published else (places + 0.5) * block
    return plane(torch.as_tensor(camera.K), torch.as_tensor(camera.distortion), places, places)
