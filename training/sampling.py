"""Which rays a training step sees."""

from __future__ import annotations

import numpy as np
from scipy.ndimage import binary_dilation

from avatar_core.data.capture import Capture
from avatar_core.methods.base import RayBatch

from .options import TrainOptions

_AROUND = 6  # pixels around the mask from which most pixels are drawn
_ELSEWHERE = 0.15  # share of pixels from the rest of the picture


class RaySampler:
    """Draws pictures (a training camera at a training frame) and pixels in them; the same seed and step give the same
    rays, so that a resumed run goes on as if it had never stopped."""

    def __init__(self, capture: Capture, options: TrainOptions) -> None:
        self._capture, self._options = capture, options
        self.cameras = [i for i, camera in enumerate(capture.cameras) if camera.split == "train"]
        self.frames = [i for i, frame in enumerate(capture.frames) if frame.split == "train"]
        self._cache: dict[tuple[int, int], tuple[np.ndarray, np.ndarray]] = {}

    def draw(self, step: int) -> list[RayBatch]:
        rng = np.random.default_rng((self._options.seed, step))
        return [
            self._batch(int(rng.choice(self.cameras)), int(rng.choice(self.frames)), rng)
            for _ in range(self._options.pictures)
        ]

    def _batch(self, camera: int, frame: int, rng: np.random.Generator) -> RayBatch:
        image, near = self._picture(camera, frame)
        count = self._options.pixels
        far = round(count * _ELSEWHERE) if near.size else count
        index = np.concatenate(
            [
                rng.choice(near, count - far) if near.size else near,
                rng.integers(0, image.shape[0] * image.shape[1], far),
            ]
        )
        rows, columns = np.divmod(index, image.shape[1])
        corners = np.stack([columns, rows], 1)[:, None]
        pixels = corners + _stratified(rng, (count, self._options.subpixels))
        rgba = image[rows, columns].astype(np.float32) / 255
        source = self._capture
        return RayBatch(frame, source.frames[frame].controls, source.cameras[camera].camera, pixels, rgba)

    def _picture(self, camera: int, frame: int) -> tuple[np.ndarray, np.ndarray]:
        """The picture [H, W, 4] uint8, and the flat indices of pixels on and around its mask."""
        key = (camera, frame)
        if key not in self._cache:
            image = self._capture.image(camera, frame)
            around = binary_dilation(image[..., 3] > 0, iterations=_AROUND)
            self._cache[key] = image, np.flatnonzero(around)
        return self._cache[key]


def _stratified(rng: np.random.Generator, size: tuple[int, int]) -> np.ndarray:
    """Places in the unit square: [N, S * S, 2], one in each cell of an S x S grid; the middle when S is 1."""
    count, side = size
    if side == 1:
        return np.full((count, 1, 2), 0.5)
    cells = np.stack(np.meshgrid(np.arange(side), np.arange(side)), -1).reshape(-1, 2)
    return (cells + rng.random((count, side * side, 2))) / side
