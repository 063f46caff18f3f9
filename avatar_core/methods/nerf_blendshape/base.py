"""What the configurations share: controls in, the mixed table of an expression, rays of the head, planes out."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from ...body import Body
from ...camera import Camera
from ...config import ConfigError
from ...controls import Controls, ControlSchema
from ...data.capture import Capture, CaptureError
from ...data.head_capture import HeadCapture
from ...frame import Frame, srgb_to_linear
from ...quality import Quality
from ...render.tiles import Planes, Watch, empty_planes, render_tiles
from .config import FieldConfig
from .field import Field, clamped
from .head import PlacedHead
from .space import to_field, to_head

_TILE = 1 << 16  # rays at a time
_VISIBLE = 1 / 512  # coverage below which a pixel is empty

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Shaded:
    """Rays before nothing. colour: [R, 3] display sRGB times coverage. coverage: [R]. distance: [R] field units, the
    sum of weight times distance."""

    colour: Tensor
    coverage: Tensor
    distance: Tensor


class HeadModel(nn.Module):
    """A field that expressions drive. Configurations say what is occupied (`extent`) and look along rays (`shade`)."""

    lowest: Tensor
    highest: Tensor
    config: FieldConfig

    def __init__(self, config: FieldConfig, body: Body) -> None:
        super().__init__()
        config.check()
        self.config, self.body = config, body
        self.field = Field(config)
        self.register_buffer("lowest", torch.zeros(config.tables))  # of what each table counts; 1 for the mean
        self.register_buffer("highest", torch.ones(config.tables))
        if config.mean:
            self.lowest[0] = 1
        keys = {name: tuple(keys) for name, keys in config.shape_keys.items() if name in config.expressions}
        self.schema = ControlSchema(expressions=tuple(config.expressions), head=True, shape_keys=keys)
        self._mixed: tuple[bytes, Tensor] | None = None
        self._told = False

    def extent(self) -> tuple[np.ndarray, np.ndarray]:
        """The lowest and highest corner [3] of what is occupied; metres, the head's frame."""
        raise NotImplementedError

    def shade(
        self, origins: Tensor, directions: Tensor, table: Tensor, quality: Quality, check: Callable[[], None]
    ) -> Shaded:
        """Rays [R, 3] of the field's frame. check: called now and then; may raise."""
        raise NotImplementedError

    def set_ranges(self, lowest: np.ndarray, highest: np.ndarray) -> None:
        """Of the expressions, as many as the schema has."""
        first = int(self.config.mean)
        self.lowest[first:], self.highest[first:] = torch.as_tensor(lowest), torch.as_tensor(highest)

    def weights(self, expression: np.ndarray) -> Tensor:
        """What each table counts [K] for coefficients within their ranges or outside."""
        values = torch.as_tensor(expression).to(self.lowest)
        return clamped(torch.cat([values.new_ones(int(self.config.mean)), values]), self.lowest, self.highest)

    def mixed(self, expression: np.ndarray) -> Tensor:
        """The table of an expression; the last one is kept. Says once when a coefficient is outside of its range."""
        key = expression.tobytes()
        if self._mixed is None or self._mixed[0] != key:
            self._tell(expression)
            self._mixed = key, self.field.mix(self.weights(expression))
        return self._mixed[1]

    def forget(self) -> None:
        """What was kept of parameters that have changed."""
        self._mixed = None

    def render(
        self,
        controls: Controls,
        camera: Camera,
        quality: Quality,
        cancel: Callable[[], bool] | None = None,
        progress: Callable[[float], None] | None = None,
    ) -> Frame:
        placed, watch = _placed(controls), Watch(cancel, progress)
        with torch.no_grad():
            table = self.mixed(controls.expression)
            corners = np.stack(np.meshgrid(*np.stack(self.extent(), 1), indexing="ij"), -1).reshape(-1, 3)
            return render_tiles(
                *(camera, quality, lambda part: self._tile(part, placed, table, quality, watch), _TILE),
                *(placed.points(corners), 0.0, watch),
            )

    def proxy_mesh(self, controls: Controls) -> tuple[np.ndarray, np.ndarray]:
        return _placed(controls).points(self.body.vertices).astype(np.float32), self.body.faces

    def field_rays(self, placed: PlacedHead, camera: Camera, pixels: np.ndarray | None = None) -> tuple[Tensor, ...]:
        """Origins and directions [R, 3] in the field's frame, and [R] planar depth in the world per field unit."""
        rays = (torch.as_tensor(array, device=self.lowest.device) for array in placed.rays(camera, pixels))
        origins, directions, along = rays
        return to_field(origins, self.config.scale), to_field(directions), along / self.config.scale

    def _tell(self, wanted: np.ndarray) -> None:
        first = int(self.config.mean)
        lowest, highest = (values[first:].cpu().numpy() for values in (self.lowest, self.highest))
        outside = np.flatnonzero((wanted < lowest - 1e-3) | (wanted > highest + 1e-3)).tolist()
        if outside and not self._told:
            names = ", ".join(self.schema.expressions[i] for i in outside[:4]) + (", ..." if len(outside) > 4 else "")
            _log.warning("expressions outside of what the actor was trained on are clamped: %s", names)
            self._told = True

    def _tile(self, camera: Camera, placed: PlacedHead, table: Tensor, quality: Quality, watch: Watch) -> Planes:
        """The planes of Frame, a row a pixel."""
        origins, directions, along = self.field_rays(placed, camera)
        found = self.shade(origins, directions, table, quality, watch.check)
        planes = empty_planes(len(origins))
        seen = torch.nonzero(found.coverage > _VISIBLE).squeeze(1)
        if seen.numel():
            index, alpha = seen.cpu().numpy(), found.coverage[seen, None]
            linear = srgb_to_linear((found.colour[seen] / alpha).clamp(0, 1).cpu().numpy()) * alpha.cpu().numpy()
            distance = found.distance[seen] / alpha[:, 0]
            normal = self._normals(origins[seen] + distance[:, None] * directions[seen], table)
            planes["rgba"][index] = np.concatenate([linear, alpha.cpu().numpy()], 1)
            planes["depth"][index] = (distance * along[seen]).cpu().numpy()
            planes["normal"][index] = placed.normals(to_head(normal).cpu().numpy())
            planes["mask"][index] = alpha[:, 0].cpu().numpy()
        return planes

    def _normals(self, points: Tensor, table: Tensor) -> Tensor:
        """Against the density's gradient [N, 3], field axes."""
        with torch.enable_grad():
            points = points.clone().requires_grad_()
            density = self.field.density(points, table)[0]
            return -torch.autograd.grad(density.sum(), points)[0]


def tracked(capture: Capture, config: FieldConfig) -> HeadCapture:
    """What a head may be trained on. Raises CaptureError for a capture of another kind, ConfigError for a field that
    cannot learn."""
    if config.principal:
        raise ConfigError("option 'principal' is of imported actors; leave it out to train")
    if not isinstance(capture, HeadCapture):
        raise CaptureError(f"{capture.folder} is no tracked head with a transforms.json, which this method trains on")
    count = capture.source.coefficients
    if count != len(config.expressions):
        raise ConfigError(
            f"{capture.folder} has {count} coefficients a frame, and the method's config names "
            f"{len(config.expressions)}: name yours under config: {{expressions: [...]}}"
        )
    return capture


def _placed(controls: Controls) -> PlacedHead:
    return PlacedHead(np.eye(4) if controls.head is None else controls.head)
