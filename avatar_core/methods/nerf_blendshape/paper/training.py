"""What training the published field minimises (NeRFBlendShape, section 3.4, and the released schedule)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from ....data.boxes import in_box, square_in
from ....data.head_capture import HeadCapture
from ....nn.pcg import pcg32_uniform
from ...base import RayBatch
from ..base import HeadModel
from ..head import PlacedHead
from .compositing import training_pixels
from .march import MOST, interval, march

Perceptual = Callable[[Tensor, Tensor], Tensor]
"""Two pictures [1, 3, H, W], display sRGB in [0, 1], to their distance, a scalar."""

PRUNE_FIRST, PRUNE_EVERY = (1000, 2000), 2000  # steps; the released code goes on once an epoch, its author advises this
_MASK_STEPS, _PATCH_STEPS = 4000, 20000
_PATCH_WEIGHT = 0.1


def terms(picture: Tensor, coverage: Tensor, target: Tensor, mask: Tensor | None) -> dict[str, Tensor]:
    """Mean absolute errors of pixels [N, 3] in [0, 1] and, with `mask` [N], of coverage [N]."""
    found = {"absolute": (picture - target).abs().mean()}
    return found if mask is None else found | {"mask": (coverage - mask).abs().mean()}


def sparsity(tables: Tensor) -> Tensor:
    """The mean absolute value of all tables [K, ...] but the first.

    `losses` leaves it out: its gradient, 1 / (number of entries), moves those entries alone that no sample touches, and
    those are never read; what it shrinks where there are samples is less than a rounding error.
    """
    return tables[1:].abs().mean() if len(tables) > 1 else torch.zeros(()).to(tables)


@dataclass
class Lessons:
    """The training frames of a tracked head. device: the model's. perceptual: a distance of patches, or None: boxes are
    sampled instead."""

    capture: HeadCapture
    device: torch.device
    perceptual: Perceptual | None = None
    noise: dict[int, Tensor] = field(default_factory=dict)

    def losses(
        self,
        model: HeadModel,
        batches: Sequence[RayBatch],
        factors: list[tuple[Tensor, Tensor]],
        occupied: Tensor,
        step: int,
    ) -> dict[str, Tensor]:
        """Mean over the frames. 'colour' is the mean squared error, told and not minimised."""
        total: dict[str, Tensor] = {}
        for batch in batches:
            table = model.field.mix(model.weights(batch.controls.expression), factors)
            render = _Render(model, batch, table, occupied, self._background())
            pixels = np.floor(batch.pixels.mean(1)).astype(np.int64)
            picture, coverage = render(batch.pixels, pixels, self._noise(batch.pixels[..., 0].size))
            target = torch.as_tensor(batch.rgba, device=self.device)
            found = terms(picture, coverage, target[:, :3], target[:, 3] if step < _MASK_STEPS else None)
            found["colour"] = (picture.detach() - target[:, :3]).square().mean()
            if step >= _PATCH_STEPS:
                found["absolute"] = found["absolute"] / 2
                found["face"] = self._face(render, batch, step) / 2
            for name, term in found.items():
                total[name] = total.get(name, 0.0) + term / len(batches)
        return total

    def _face(self, render: _Render, batch: RayBatch, step: int) -> Tensor:
        """The mouth on even steps, the face on odd ones. The released code takes a square's first pixel from a place
        that is not rounded, so that most of its squares start outside of the box; here they lie inside."""
        rng, size = np.random.default_rng((step, batch.frame)), (batch.camera.width, batch.camera.height)
        face, mouth = self.capture.boxes(batch.frame)
        box = face if step % 2 else mouth
        count = len(batch.pixels)
        pixels = in_box(box, size, count, rng) if self.perceptual is None else square_in(box, size, rng)
        picture, _ = render(pixels[:, None] + 0.5, pixels, self._noise(len(pixels)))
        image = self.capture.image(0, batch.frame)[..., :3]
        target = torch.as_tensor(image[pixels[:, 1], pixels[:, 0]], device=self.device).float() / 255
        error = (picture - target).abs().mean()
        if self.perceptual is None:
            return error
        side = round(len(pixels) ** 0.5)
        one, two = (part.T.reshape(1, 3, side, side) for part in (picture, target))
        return _PATCH_WEIGHT * (error + self.perceptual(one, two))

    def _noise(self, rays: int) -> Tensor:
        """[rays, MOST]; the same in every step, as published."""
        if rays not in self.noise:
            self.noise = {rays: torch.as_tensor(pcg32_uniform(np.arange(rays), MOST), device=self.device)}
        return self.noise[rays]

    def _background(self) -> Tensor:
        return torch.tensor(self.capture.background, device=self.device).float() / 255


@dataclass(frozen=True)
class _Render:
    """Pixels of one frame with gradients."""

    model: HeadModel
    batch: RayBatch
    table: Tensor
    occupied: Tensor
    background: Tensor

    def __call__(self, places: np.ndarray, pixels: np.ndarray, noise: Tensor) -> tuple[Tensor, Tensor]:
        """Colour [N, 3] before the background, and coverage [N]. places: [N, K, 2] x, y of each pixel's rays. pixels:
        [N, 2] the pixel of the background."""
        head = self.batch.controls.head
        assert head is not None
        model, (count, rays) = self.model, places.shape[:2]
        origins, directions, _ = model.field_rays(PlacedHead(head), self.batch.camera, places.reshape(-1, 2))
        near, far = interval(origins, directions, model.field.bound, training=True)
        steps = march(origins, directions, near, far, self.occupied, model.field.bound, noise=noise)
        density, colour = model.field(steps.point, directions[steps.ray], self.table)
        behind = self.background[pixels[:, 1], pixels[:, 0]].repeat_interleave(rays, 0)
        picture, coverage = training_pixels(density, colour, steps.length, steps.ray, behind)
        return picture.view(count, rays, 3).mean(1), coverage.view(count, rays).mean(1)
