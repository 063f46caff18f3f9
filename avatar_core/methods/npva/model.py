"""NPVA behind the interface that every method has."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import adaptive_avg_pool2d

from ...body import Body
from ...camera import Camera, CameraError
from ...controls import Controls, ControlSchema
from ...errors import AvatarError
from ...frame import Frame, srgb_to_linear
from ...quality import Quality
from ...render.tiles import Planes, Watch, empty_planes, render_tiles
from .aggregation import Aggregator
from .config import Config
from .decoders import Decoders, Maps
from .driver import Driver
from .encoder import Encoder, Latent
from .renderer import Cloud, Samples
from .space import placed_view, to_head
from .surface import SIDE, Points, points, triangles

_TILE = 1 << 16  # pixels whose surface is rasterised at a time
_RAYS = 1 << 12  # whose samples are looked at together
_VISIBLE = 1 / 512  # coverage below which a pixel is empty
_COARSE = 16  # texels a side of the position map that a mesh drives by
_STEPS = 32767  # of stored mean positions


class Model(nn.Module):
    """A head of points. Implements methods.base.Model."""

    mean_steps: Tensor
    mean_scale: Tensor
    deviation: Tensor

    def __init__(self, config: Config, body: Body) -> None:
        super().__init__()
        config.check()
        self.config, self.body = config, body
        self.encoder = Encoder(config.published) if config.encoder else None
        self.decoders = Decoders(config)
        self.aggregator = Aggregator(config)
        self.driver = Driver(len(config.expressions), config.driver)
        self.mesh = Driver(3 * _COARSE * _COARSE, 0) if config.mesh else None
        self.register_buffer("mean_steps", torch.zeros(3, SIDE, SIDE, dtype=torch.int16))  # halves are too coarse
        self.register_buffer("mean_scale", torch.ones(()))
        self.register_buffer("deviation", torch.ones(()))
        keys = {name: tuple(keys) for name, keys in config.shape_keys.items()}
        self.schema = ControlSchema(expressions=tuple(config.expressions), head=True, shape_keys=keys)
        self._cloud: tuple[bytes, Cloud] | None = None

    @property
    def mean(self) -> Tensor:
        """Mean position map [3, SIDE, SIDE], mm."""
        return self.mean_steps * self.mean_scale

    def set_positions(self, mean: Tensor, deviation: float) -> None:
        """mean: [3, SIDE, SIDE] mm, of position maps; deviation: of all their values from it."""
        mean = mean.to(self.deviation)
        self.mean_scale.copy_(mean.abs().max().clamp(min=1e-6) / _STEPS)
        self.mean_steps.copy_((mean / self.mean_scale).round())
        self.deviation.fill_(deviation)

    def encode(self, texture: Tensor, positions: Tensor) -> Latent:
        """Latents of textures [B, 3, 1024, 1024] in 0..255 and position maps [B, 3, SIDE, SIDE], mm. Raises AvatarError
        without an encoder."""
        if self.encoder is None:
            raise AvatarError("this actor was trained without an encoder, so that only expressions drive it")
        positions = positions.to(self.deviation)
        return self.encoder(texture.to(self.deviation), (positions - self.mean) / self.deviation)

    def drive(self, expression: np.ndarray) -> Tensor:
        """The latent [1, 4, 8, 8] of coefficients [C]."""
        return self.driver(torch.as_tensor(expression).to(self.deviation))

    def follow(self, positions: Tensor) -> Tensor:
        """The latent [1, 4, 8, 8] of a tracked mesh, by its position map [3, SIDE, SIDE], mm. Raises AvatarError where
        the actor has no map for meshes."""
        if self.mesh is None:
            raise AvatarError("this actor was trained without 'mesh: true', so that no tracked mesh drives it")
        return self.mesh(self._coarse(positions[None])[0])

    def fit_mesh(self, positions: Iterable[Tensor], latents: Tensor) -> None:
        """Fits what `follow` gives to position maps [3, SIDE, SIDE], mm, and their latents [N, 4, 8, 8]."""
        assert self.mesh is not None
        self.mesh.fit(torch.cat([self._coarse(one[None]) for one in positions]), latents)

    def _coarse(self, positions: Tensor) -> Tensor:
        normal = (positions.to(self.deviation) - self.mean) / self.deviation
        return adaptive_avg_pool2d(normal, _COARSE).flatten(1)

    def decode(self, latent: Tensor) -> Points:
        """The head of a latent [1, 4, 8, 8]."""
        return self.decode_maps(latent)[1]

    def decode_maps(self, latent: Tensor) -> tuple[Maps, Points]:
        """The head of a latent [1, 4, 8, 8], and what it is made of."""
        maps = self.decoders(latent)
        return maps, points(maps, self.mean, self.deviation)

    def faces(self) -> Tensor:
        """[F, 3] int64, of the surface that decoded vertices span."""
        found = triangles(self.config.wrapped, self.config.capped)
        return torch.as_tensor(found, dtype=torch.int64, device=self.deviation.device)

    def forget(self) -> None:
        """What was kept of parameters that have changed."""
        self._cloud = None

    def render(
        self,
        controls: Controls,
        camera: Camera,
        quality: Quality,
        cancel: Callable[[], bool] | None = None,
        progress: Callable[[float], None] | None = None,
    ) -> Frame:
        with torch.inference_mode():
            latent = self.drive(controls.expression)
        return self.picture(latent, _head(controls), camera, quality, Watch(cancel, progress))

    def picture(self, latent: Tensor, head: np.ndarray, camera: Camera, quality: Quality, watch: Watch) -> Frame:
        """The head of a latent [1, 4, 8, 8], which `head` [4, 4] places in the world."""
        if camera.distortion.any():
            raise CameraError(
                "a surface guides the rays of NPVA, and lens distortion would bend it; give a camera without"
            )
        with torch.inference_mode():
            cloud = self._cloud_of(latent)
            watch.check()
            vertices = to_head(cloud.points.vertices.double().cpu().numpy()) @ head[:3, :3].T + head[:3, 3]
            faces = self.faces()
            reach = self.config.reach / 1000 * float(np.cbrt(abs(np.linalg.det(head[:3, :3]))))
            return render_tiles(
                *(camera, quality, lambda part: self._tile(part, head, cloud, faces, quality.stop, watch), _TILE),
                *(vertices, reach, watch),
            )

    def proxy_mesh(self, controls: Controls) -> tuple[np.ndarray, np.ndarray]:
        head = _head(controls)
        return (self.body.vertices @ head[:3, :3].T + head[:3, 3]).astype(np.float32), self.body.faces

    def _cloud_of(self, latent: Tensor) -> Cloud:
        """The last one is kept: a camera that moves costs no decoder."""
        key = latent.cpu().numpy().tobytes()
        if self._cloud is None or self._cloud[0] != key:
            head = self.decode(latent)
            if not bool(head.vertices.isfinite().all()):
                raise AvatarError("the head's networks give places that are no numbers; train or import it again")
            self._cloud = key, Cloud(head, self.aggregator, self.config)
        return self._cloud[1]

    def _tile(self, camera: Camera, head: np.ndarray, cloud: Cloud, faces: Tensor, stop: float, watch: Watch) -> Planes:
        """The planes of Frame, a row a pixel."""
        view, metres = placed_view(camera, head, self.deviation.device)
        count = camera.width * camera.height
        planes = empty_planes(count)
        wide = view.padded(self.config.span, cloud.points.vertices)
        surface, facing = wide.surface(cloud.points.vertices, faces)
        index = torch.arange(count, device=view.K.device)
        pixels = torch.stack([index % camera.width, index // camera.width], 1) + wide.border
        for part in index.split(_RAYS):
            watch.check()
            directions = wide.directions(pixels[part] + 0.5)
            near, distances = wide.distances(directions, surface, pixels[part], self.config)
            if not len(distances):
                continue
            found = cloud.render(Samples.along(view.origin, directions[near], distances, view.rotation), stop)
            seen = found.coverage > _VISIBLE
            at = part[near][seen]
            alpha = found.coverage[seen, None]
            colour = srgb_to_linear((found.colour[seen] / alpha).clamp(0, 1).cpu().numpy())
            place, opacity = at.cpu().numpy(), alpha.cpu().numpy()
            planes["rgba"][place] = np.concatenate([colour * opacity, opacity], 1)
            planes["depth"][place] = found.depth[seen].cpu().numpy() / opacity[:, 0] * metres
            planes["mask"][place] = opacity[:, 0]
            x, y = pixels[at].T
            planes["normal"][place] = facing[y, x].cpu().numpy() @ camera.world_to_camera[:3, :3]
        return planes


def _head(controls: Controls) -> np.ndarray:
    return np.eye(4) if controls.head is None else np.asarray(controls.head, np.float64)
