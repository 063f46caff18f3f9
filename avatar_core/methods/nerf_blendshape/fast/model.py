"""The fast configuration behind the interface that every method has."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ....body import Body
from ....cuda.composite import accumulate, sample_weights
from ....cuda.march import Samples
from ....data.capture import Capture, CaptureError
from ....nn.encoding import spherical_harmonics
from ....quality import Quality
from ....render.occupancy import OccupancyGrid
from ...base import RayBatch
from ..base import HeadModel, Shaded, tracked
from ..head import PlacedHead
from ..space import to_head
from .config import Config
from .occupancy import carved, occupied

_LOOK, _PRUNE = 64, 128  # steps after which it is noted what shows, and what does not is left out
_UPDATE_EVERY, _DECAY = 32, 0.95  # steps, and what is left of what showed before them
_SEEN = 1e-2  # share of a ray's weight so far below which a sample has the ray's colour
_TAUGHT = 1e-4  # weight below which a sample's colour does not count
_LEARNT = 1e-3  # light below which a sample learns nothing
_CHUNK = 8192  # points whose activations fit the cache
_WAVE = 4  # samples of a ray between two looks at which rays are still open
STEP = 0.5  # of a body's steps, which a quality states
_MASK, _SPREAD = 0.5, 0.02  # weights of the losses
_LATE = 0.4  # share of the training after which features of squares are compared: once there is something to see


class Model(HeadModel):
    """Implements methods.base.TrainableModel."""

    takes_perceptual = True
    config: Config
    shown: Tensor
    hull: Tensor

    def __init__(self, config: Config, body: Body) -> None:
        super().__init__(config, body)
        side = config.voxels
        self.register_buffer("shown", torch.ones(side, side, side))
        self.register_buffer("hull", torch.ones(side, side, side, dtype=torch.uint8))
        self._factors: list[tuple[Tensor, Tensor]] = []
        self._grid: OccupancyGrid | None = None
        self._background = torch.zeros(1, 1, 3)

    def weights(self, expression: np.ndarray) -> Tensor:
        weights = super().weights(expression)
        first = int(self.config.mean)
        return torch.cat([weights[:first], self.config.share * weights[first:]])

    def grid(self) -> OccupancyGrid:
        """In the field's frame."""
        if self._grid is None:
            config = self.config
            full = occupied(self.shown, self.hull > 0)
            low = torch.full((3,), -config.bound, device=full.device)
            self._grid = OccupancyGrid(full, low, 2 * config.bound / config.voxels)
        return self._grid

    def extent(self) -> tuple[np.ndarray, np.ndarray]:
        index = torch.nonzero(self.grid().fine)
        edges = (index.amin(0), index.amax(0) + 1) if len(index) else (index.new_zeros(3), index.new_zeros(3))
        corners = (torch.stack(edges) / self.config.voxels * 2 - 1) * self.config.bound
        low, high = to_head(corners, self.config.scale).cpu().double().numpy()
        return low, high

    def shade(
        self, origins: Tensor, directions: Tensor, table: Tensor, quality: Quality, check: Callable[[], None]
    ) -> Shaded:
        """Front to back in waves of samples; opaque rays leave."""
        rays = len(origins)
        light, colours, depth = origins.new_zeros(rays, 2), origins.new_zeros(rays, 4), origins.new_zeros(rays)
        harmonics = spherical_harmonics(directions)
        samples = self.grid().sample(origins, directions, quality.step * STEP * self.config.scale)
        following, end = samples.start[:-1].clone(), samples.start[1:]  # each ray's next sample
        opaque = -float(np.log(quality.stop))
        while (live := torch.nonzero((following < end) & (depth < opaque)).squeeze(1)).numel():
            check()
            part = following[live, None] + torch.arange(_WAVE, device=live.device)
            part = part[part < end[live, None]]
            following[live] += _WAVE
            ray, distance = samples.ray[part], samples.distance[part]
            density, geometry = self.field.density(origins[ray] + distance[:, None] * directions[ray], table)
            optical = density * samples.step
            weight = sample_weights(optical, ray, depth[ray])
            depth += accumulate(optical, None, ray, rays)
            light += accumulate(weight, torch.stack([torch.ones_like(distance), distance], 1), ray, rays)
            seen = torch.nonzero(weight > (_SEEN * light[ray, 0]).clamp(min=_TAUGHT)).squeeze(1)
            ray, weight = ray[seen], weight[seen]
            colour = self.field.seen(geometry[seen], harmonics[ray])
            colours += accumulate(weight, torch.cat([colour, torch.ones_like(weight)[:, None]], 1), ray, rays)
        coverage = (light[:, 0] / (1 - quality.stop)).clamp(max=1)
        return Shaded(
            colours[:, :3] * (coverage / colours[:, 3].clamp(min=1e-6))[:, None],
            coverage,
            light[:, 1] * coverage / light[:, 0].clamp(min=1e-6),
        )

    def prepare(self, capture: Capture, frames: Sequence[int]) -> None:
        """Ranges, the picture behind the head, and the voxels that masks leave. Raises CaptureError and
        ConfigError."""
        config, film = self.config, tracked(capture, self.config)
        self.set_ranges(*film.ranges)
        self._background = torch.tensor(film.background, device=self.hull.device).float() / 255
        hull = carved(film, np.array(frames), config.voxels, config.bound, config.scale)
        if not bool(hull.any()):
            raise CaptureError(f"{capture.folder}: masks and poses leave nothing where they meet; check its poses")
        self.hull.copy_(hull)
        self._grid = None

    def losses(self, batches: Sequence[RayBatch], progress: float) -> dict[str, Tensor]:
        total: dict[str, Tensor] = {}
        for batch in batches:
            picture, coverage, spread = self._pixels(batch)
            target = torch.as_tensor(batch.rgba, device=picture.device)
            terms = {
                "colour": (picture - target[:, :3]).square().mean(),
                "mask": _MASK * (coverage - target[:, 3]).square().mean(),
                "spread": _SPREAD * spread,
            }
            if batch.perceptual is not None and progress > _LATE:
                terms["perceptual"] = batch.perceptual(picture, target[:, :3])
            for name, term in terms.items():
                total[name] = total.get(name, 0.0) + term / len(batches)
        return total

    def after_step(self, step: int, steps: int) -> None:
        self.forget()
        if step == _LOOK:
            self.shown.zero_()
        if step >= _PRUNE and step % _UPDATE_EVERY == 0:
            self._grid = None
            self.grid()
            self.shown.mul_(_DECAY)

    def parameter_groups(self) -> list[dict[str, Any]]:
        nets = [*self.field.density_net.parameters(), *self.field.colour_net.parameters()]
        return [{"params": [self.field.tables], "lr": 1.5e-2, "factors": self._factors}, {"params": nets, "lr": 1e-2}]

    def _pixels(self, batch: RayBatch) -> tuple[Tensor, Tensor, Tensor]:
        """Colour [N, 3] before the background, coverage [N], and how far apart along a ray what it sees lies: the mean
        square over the rays, in halves of the cube's edge."""
        head = batch.controls.head
        assert head is not None
        config = self.config
        count, per_pixel = batch.pixels.shape[:2]
        origins, directions, _ = self.field_rays(PlacedHead(head), batch.camera, batch.pixels.reshape(-1, 2))
        samples = self._sample(origins, directions)
        table = self.field.mix(self.weights(batch.controls.expression), self._factors)
        ray = samples.ray
        points = origins[ray] + samples.distance[:, None] * directions[ray]
        lit = torch.nonzero(self._look(points, table.detach(), samples) > _LEARNT).squeeze(1)
        ray, points = ray[lit], points[lit]
        density, geometry = self.field.density(points, table)
        weight = sample_weights(density * samples.step, ray)
        seen = torch.nonzero(weight.detach() > _TAUGHT).squeeze(1)
        colour = self.field.seen(geometry[seen], spherical_harmonics(directions)[ray[seen]])
        rgb = accumulate(weight[seen], colour, ray[seen], len(origins))
        coverage = accumulate(weight, None, ray, len(origins))
        distance = samples.distance[lit] / config.bound
        middle = accumulate(weight.detach(), distance[:, None], ray, len(origins))[:, 0]
        middle = middle / coverage.detach().clamp(min=1e-6)
        spread = (weight * (distance - middle[ray]).square()).sum() / len(origins)
        column, row = torch.as_tensor(np.floor(batch.pixels.mean(1)).astype(np.int64)).unbind(1)
        rgb, coverage = rgb.view(count, per_pixel, 3).mean(1), coverage.view(count, per_pixel).mean(1)
        return rgb + (1 - coverage[:, None]) * self._background[row, column], coverage, spread

    @torch.no_grad()
    def _look(self, points: Tensor, table: Tensor, samples: Samples) -> Tensor:
        """The light that reaches each sample [S], 0 to 1, and a note of the voxels that show. Without gradients: a
        third of the work."""
        config = self.config
        parts = [self.field.density(part, table)[0] for part in points.split(_CHUNK)]
        depth = torch.cat(parts) * samples.step
        total = torch.cumsum(depth.double(), 0) - depth
        first = samples.start[:-1][samples.ray]
        light = torch.exp(total[first] - total).float()
        cell = ((points / config.bound + 1) / 2 * config.voxels).long().clamp(0, config.voxels - 1)
        index = (cell[:, 0] * config.voxels + cell[:, 1]) * config.voxels + cell[:, 2]
        self.shown.view(-1).scatter_reduce_(0, index, -light * torch.expm1(-depth), "amax")
        return light

    def _sample(self, origins: Tensor, directions: Tensor) -> Samples:
        step = self.config.step * self.config.scale
        return self.grid().sample(origins, directions, step, torch.rand(len(origins), device=origins.device))
