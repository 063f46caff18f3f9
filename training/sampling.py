"""Which rays a training step sees."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from scipy.ndimage import binary_dilation
from torch import Tensor

from avatar_core.data.boxes import square_in
from avatar_core.data.capture import Capture
from avatar_core.data.head_capture import HeadCapture
from avatar_core.methods.base import RayBatch

from .options import TrainOptions

Perceptual = Callable[[Tensor, Tensor], Tensor]

ROOM = 4 << 30  # bytes of pictures that are kept in memory
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
        self._room = ROOM

    def draw(self, step: int, perceptual: Perceptual | None = None) -> list[RayBatch]:
        """perceptual: given to squares, which half of the pictures are then."""
        rng = np.random.default_rng((self._options.seed, step))
        return [
            self._batch(int(rng.choice(self.cameras)), int(rng.choice(self.frames)), rng, perceptual)
            for _ in range(self._options.pictures)
        ]

    def _batch(self, camera: int, frame: int, rng: np.random.Generator, perceptual: Perceptual | None) -> RayBatch:
        image, near = self._picture(camera, frame)
        square = perceptual is not None and near.size > 0 and rng.random() < 0.5
        index = self._square(frame, image, near, rng) if square else self._scattered(image, near, rng)
        rows, columns = np.divmod(index, image.shape[1])
        corners = np.stack([columns, rows], 1)[:, None]
        pixels = corners + _stratified(rng, (len(index), self._options.subpixels))
        rgba = image[rows, columns].astype(np.float32) / 255
        source = self._capture
        controls, view = source.frames[frame].controls, source.cameras[camera].camera
        return RayBatch(frame, controls, view, pixels, rgba, perceptual=perceptual if square else None)

    def _scattered(self, image: np.ndarray, near: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Flat indices of pixels, most of them on and around the person."""
        count = self._options.pixels
        far = round(count * _ELSEWHERE) if near.size else count
        return np.concatenate(
            [
                rng.choice(near, count - far) if near.size else near,
                rng.integers(0, image.shape[0] * image.shape[1], far),
            ]
        )

    def _square(self, frame: int, image: np.ndarray, near: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Flat indices of a square around a pixel of the person, row by row; of a tracked head, in its face or its
        mouth."""
        height, width = image.shape[:2]
        side = min(round(self._options.pixels**0.5), height, width)
        if isinstance(self._capture, HeadCapture):
            box = self._capture.boxes(frame)[int(rng.integers(2))]
            columns, rows = square_in(box, (width, height), rng, side).T
            return rows * width + columns
        row, column = np.divmod(int(rng.choice(near)), width)
        top, left = min(max(0, row - side // 2), height - side), min(max(0, column - side // 2), width - side)
        return ((top + np.arange(side))[:, None] * width + left + np.arange(side)).reshape(-1)

    def _picture(self, camera: int, frame: int) -> tuple[np.ndarray, np.ndarray]:
        """The picture [H, W, 4] uint8, and the flat indices of pixels on and around its mask."""
        key = (camera, frame)
        if key not in self._cache:
            image = self._capture.image(camera, frame)
            around = binary_dilation(image[..., 3] > 0, iterations=_AROUND)
            self._keep(key, (image, np.flatnonzero(around).astype(np.int32)))
        return self._cache[key]

    def _keep(self, key: tuple[int, int], picture: tuple[np.ndarray, np.ndarray]) -> None:
        """In memory; the oldest leave where there is no room, and are read again when they are drawn."""
        self._room -= sum(part.nbytes for part in picture)
        while self._room < 0 and self._cache:
            self._room += sum(part.nbytes for part in self._cache.pop(next(iter(self._cache))))
        self._cache[key] = picture


def _stratified(rng: np.random.Generator, size: tuple[int, int]) -> np.ndarray:
    """Places in the unit square: [N, S * S, 2], one in each cell of an S x S grid; the middle when S is 1."""
    count, side = size
    if side == 1:
        return np.full((count, 1, 2), 0.5)
    cells = np.stack(np.meshgrid(np.arange(side), np.arange(side)), -1).reshape(-1, 2)
    return (cells + rng.random((count, side * side, 2))) / side
