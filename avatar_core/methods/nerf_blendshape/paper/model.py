"""The published renderer behind the interface that every method has."""

from __future__ import annotations

import logging
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor, nn

from ....body import Body
from ....camera import Camera
from ....controls import Controls, ControlSchema
from ....frame import EMPTY_DEPTH, Frame, srgb_to_linear
from ....quality import Quality
from ....render.tiles import Planes, Watch, render_tiles
from ..coefficients import clamped
from ..head import PlacedHead
from ..space import to_field, to_head
from . import occupancy
from .config import Config
from .field import Field
from .renderer import render

_TILE = 1 << 14  # rays at a time
_VISIBLE = 1 / 512  # coverage below which a pixel is empty
_LARGEST = 6e4  # density that is kept; the file has half precision

_log = logging.getLogger(__name__)


class Model(nn.Module):
    """NeRFBlendShape as published. Implements methods.base.Model."""

    lowest: Tensor
    highest: Tensor
    grid: Tensor

    def __init__(self, config: Config, body: Body) -> None:
        super().__init__()
        _check(config)
        self.config, self.body = config, body
        self.field = Field(config)
        count, side = config.tables, config.resolution
        self.register_buffer("lowest", torch.zeros(count))  # of what each table counts; 1 for the mean
        self.register_buffer("highest", torch.ones(count))
        self.register_buffer("grid", torch.full((side, side, side), occupancy.START))
        if config.mean:
            self.lowest[0] = 1
        self.schema = ControlSchema(expressions=tuple(config.expressions), head=True)
        self._mixed: tuple[bytes, Tensor] | None = None
        self._occupied: Tensor | None = None
        self._told = False

    def set_ranges(self, lowest: np.ndarray, highest: np.ndarray) -> None:
        """Of the expressions, as many as the schema has."""
        first = int(self.config.mean)
        self.lowest[first:], self.highest[first:] = torch.as_tensor(lowest), torch.as_tensor(highest)

    def weights(self, expression: Tensor) -> Tensor:
        """What each table counts [K] for coefficients within their ranges or outside."""
        values = torch.cat([expression.new_ones(1), expression]) if self.config.mean else expression
        return clamped(values, self.lowest, self.highest)

    def render(
        self,
        controls: Controls,
        camera: Camera,
        quality: Quality,
        cancel: Callable[[], bool] | None = None,
        progress: Callable[[float], None] | None = None,
    ) -> Frame:
        placed = PlacedHead(controls.head if controls.head is not None else np.eye(4))
        watch = Watch(cancel, progress)
        with torch.no_grad():
            table = self.mixed(controls)
            low, high = self.extent()
            corners = np.stack(np.meshgrid(*np.stack([low, high], 1), indexing="ij"), -1).reshape(-1, 3)
            return render_tiles(
                *(camera, quality, lambda part: self._tile(part, placed, table, watch), _TILE),
                *(placed.points(corners), 0.0, watch),
            )

    def proxy_mesh(self, controls: Controls) -> tuple[np.ndarray, np.ndarray]:
        placed = PlacedHead(controls.head if controls.head is not None else np.eye(4))
        return placed.points(self.body.vertices).astype(np.float32), self.body.faces

    def extent(self) -> tuple[np.ndarray, np.ndarray]:
        """The lowest and highest corner [3] of what is occupied; metres, the head's frame."""
        config = self.config
        index = torch.nonzero(self.occupied())
        edges = (index.amin(0) - 1, index.amax(0) + 1) if len(index) else (torch.zeros(3), torch.zeros(3))
        units = torch.stack([edge.float() for edge in edges]) / (config.resolution - 1) * 2 - 1
        corners = to_head(units.clamp(-1, 1) * config.bound, config.scale).cpu().numpy()
        return corners[0].astype(np.float64), corners[1].astype(np.float64)

    def mixed(self, controls: Controls) -> Tensor:
        """The table of an expression; the last one is kept. Says once when a coefficient is outside of its range."""
        key = controls.expression.tobytes()
        if self._mixed is None or self._mixed[0] != key:
            expression = torch.as_tensor(controls.expression).to(self.lowest)
            weights = self.weights(expression)
            self._tell(expression, weights[int(self.config.mean) :])
            self._mixed = key, self.field.mix(weights)
        return self._mixed[1]

    def occupied(self) -> Tensor:
        """[H, H, H] bool."""
        if self._occupied is None:
            self._occupied = occupancy.occupied(self.grid)
        return self._occupied

    def set_grid(self, grid: Tensor) -> None:
        self.grid.copy_(grid.clamp(max=_LARGEST))
        self._occupied = None

    def forget(self) -> None:
        """What was kept of parameters that have changed."""
        self._mixed = self._occupied = None

    def _tell(self, wanted: Tensor, used: Tensor) -> None:
        outside = torch.nonzero((wanted - used).abs() > 1e-3)[:, 0].tolist()
        if outside and not self._told:
            names = ", ".join(self.schema.expressions[i] for i in outside[:4]) + (", ..." if len(outside) > 4 else "")
            _log.warning("expressions outside of what the actor was trained on are clamped: %s", names)
            self._told = True

    def _tile(self, camera: Camera, placed: PlacedHead, table: Tensor, watch: Watch) -> Planes:
        """The planes of Frame, a row a pixel."""
        device = table.device
        origins, directions, along = (torch.as_tensor(array, device=device) for array in placed.rays(camera))
        scale = self.config.scale
        starts, ways = to_field(origins, scale), to_field(directions)
        pixels = render(self.field, table, self.occupied(), starts, ways, watch.check)
        count = len(origins)
        planes = {
            "rgba": np.zeros((count, 4), np.float32),
            "depth": np.full(count, EMPTY_DEPTH, np.float32),
            "normal": np.zeros((count, 3), np.float32),
            "mask": np.zeros(count, np.float32),
        }
        seen = torch.nonzero(pixels.coverage > _VISIBLE).squeeze(1)
        if seen.numel():
            alpha = pixels.coverage[seen, None]
            linear = srgb_to_linear((pixels.colour[seen] / alpha).clamp(0, 1).cpu().numpy()) * alpha.cpu().numpy()
            distance = pixels.distance[seen] / alpha[:, 0]
            normal = to_head(self._normals(starts[seen] + distance[:, None] * ways[seen], table)).cpu().numpy()
            index = seen.cpu().numpy()
            planes["rgba"][index] = np.concatenate([linear, alpha.cpu().numpy()], 1)
            planes["depth"][index] = (distance / scale * along[seen]).cpu().numpy()
            planes["normal"][index] = placed.normals(normal)
            planes["mask"][index] = alpha[:, 0].cpu().numpy()
        return planes

    def _normals(self, points: Tensor, table: Tensor) -> Tensor:
        """Against the density's gradient [N, 3], field axes."""
        with torch.enable_grad():
            points = points.clone().requires_grad_()
            density = self.field.density(points, table)[0]
            return -torch.autograd.grad(density.sum(), points)[0]


def _check(config: Config) -> None:
    """Raises ValueError for what no field has."""
    wide = config.width % 16 == 0 and 16 <= config.width <= 512 and 1 <= config.geometry <= 512
    deep = 1 <= config.density_layers <= 16 and 1 <= config.colour_layers <= 16
    if not (wide and deep and 1 <= config.tables <= 1024):
        raise ValueError("widths must be multiples of 16 up to 512, layers up to 16 and tables up to 1024")
    if not (8 <= config.resolution <= 513 and 0 < config.bound <= 10 and 0 < config.scale <= 1000):
        raise ValueError("resolution must be 8-513, bound up to 10 and scale up to 1000")
    if config.finest < config.base:
        raise ValueError("finest must not be below base")
