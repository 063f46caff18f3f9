"""The published renderer behind the interface that every method has."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ....body import Body
from ....camera import Camera
from ....controls import Controls, ControlSchema
from ....data.capture import Capture
from ....data.texture_maps import TextureMaps
from ....frame import Frame
from ....mesh_file import Mesh
from ....nn.threads import torch_threads
from ....quality import Quality
from ....render.tiles import Watch, render_tiles
from ...base import RayBatch
from .config import Config
from .dynamic_texture import StoredTextures, TexturePredictor, texture_loss
from .picture import Picture
from .renderer import Renderer
from .seams import Gutter
from .training import JOINT, PAINTED, TEXTURE, losses

_TILE = 1 << 14  # rays at a time
_one_thread = partial(torch_threads, 1)  # convolutions add up in an order that depends on their number; frames must not


class Model(nn.Module):
    """Neural Actor as published, with SMPL's controls. Implements methods.base.Model."""

    takes_corrections = takes_perceptual = True
    rest: Tensor

    def __init__(self, config: Config, body: Body) -> None:
        super().__init__()
        if not (0 <= config.textures <= 4096 and 16 <= config.texture_size <= 4096 and 0 < config.reach <= 1):
            raise ValueError("textures must be 0-4096, texture_size 16-4096 and reach up to 1 m")
        if len(body.face_uv) != len(body.faces):
            raise ValueError("Neural Actor needs a body with texture coordinates")
        self.config, self.body = config, body
        face_uv = torch.as_tensor(body.uv)[torch.as_tensor(body.face_uv).long()]
        self.renderer = Renderer(Gutter(face_uv) if config.surface == "seamless" else None, config.encoder)
        joints, side = len(body.joint_names), config.texture_size
        self.textures = (
            StoredTextures(config.textures, joints, side) if config.textures else TexturePredictor(body, side)
        )
        self.register_buffer("rest", torch.eye(4).repeat(joints, 1, 1))
        self.schema = ControlSchema(
            joints=tuple(body.joint_names),
            betas=body.shapedirs.shape[2],
            expressions=tuple(body.expression_names),
        )
        self._folded: tuple[Tensor, Tensor] | None = None
        self._pictures: dict[int, Picture] = {}
        self._maps: TextureMaps | None = None

    def render(
        self,
        controls: Controls,
        camera: Camera,
        quality: Quality,
        cancel: Callable[[], bool] | None = None,
        progress: Callable[[float], None] | None = None,
    ) -> Frame:
        with torch.inference_mode():
            picture, watch = self._textured(controls), Watch(cancel, progress)
            world = picture.vertices.numpy(force=True)
            return render_tiles(
                camera, quality, lambda part: picture.tile(part, quality, watch), _TILE, world, self.config.reach, watch
            )

    def proxy_mesh(self, controls: Controls) -> tuple[np.ndarray, np.ndarray]:
        with torch.inference_mode():
            return self._picture(controls).vertices.numpy(force=True), self.body.faces

    def surface(self, controls: Controls, detail: int) -> Mesh:
        """The posed surface, coloured; `detail` cells a centimetre. Raises AvatarError."""
        with torch.inference_mode():
            return self._textured(controls).surface(detail)

    def prepare(self, capture: Capture, frames: Sequence[int]) -> None:
        """Starts from the maps of the training frames; raises CaptureError for a frame without one."""
        self._maps = TextureMaps(capture, frames, self.config.texture_size, self.rest.device)
        if isinstance(self.textures, TexturePredictor):
            self.textures.mean.data.copy_(self._maps.mean().permute(2, 0, 1))
            return
        chosen = np.linspace(0, len(frames) - 1, self.config.textures).round().astype(int)
        for place, index in enumerate(chosen):
            self.textures.maps[place] = (self._maps.texture(frames[index]) * 255).round().to(torch.uint8)
            self.textures.poses[place] = torch.as_tensor(capture.frames[frames[index]].controls.pose)

    def losses(self, batches: Sequence[RayBatch], progress: float) -> dict[str, Tensor]:
        assert self._maps is not None, "prepare() comes first"
        total: dict[str, Tensor] = {}
        for batch in batches:
            picture, image = self._picture_for(batch), self._maps.texture(batch.frame)
            terms = {}
            if isinstance(self.textures, TexturePredictor):
                painted = self.paint(picture, batch.controls)
                terms["texture"] = TEXTURE * texture_loss(painted, image, self._maps.confidence(batch.frame))
                if float(torch.rand(())) < PAINTED:
                    image = painted if progress > JOINT else painted.detach()
            picture.folded = self.renderer.texture_map(image)
            terms |= losses(picture, batch)
            for name, term in terms.items():
                total[name] = total.get(name, 0.0) + term / len(batches)
        return total

    def after_step(self, step: int, steps: int) -> None:
        self._folded = None

    def parameter_groups(self) -> list[dict[str, Any]]:
        groups = [{"params": list(self.renderer.parameters()), "lr": 5e-4}]
        painter = list(self.textures.parameters())
        return [*groups, {"params": painter, "lr": 5e-3}] if painter else groups

    def texture_image(self, controls: Controls) -> np.ndarray:
        """The texture map of a pose [S, S, 3] float32, display sRGB in [0, 1]."""
        with torch.inference_mode(), _one_thread():
            return self.paint(self._picture(controls), controls).clamp(0, 1).numpy(force=True)

    def paint(self, picture: Picture, controls: Controls) -> Tensor:
        """The texture map of a pose, [S, S, 3] display sRGB."""
        return self.textures(
            torch.as_tensor(controls.pose, device=picture.device), picture.normals @ picture.rotation.T
        )

    def _picture_for(self, batch: RayBatch) -> Picture:
        if batch.correction is not None:
            return self._picture(batch.controls, batch.correction)
        if batch.frame not in self._pictures:
            with torch.no_grad():
                self._pictures[batch.frame] = self._picture(batch.controls)
        return self._pictures[batch.frame]

    def _picture(self, controls: Controls, correction: tuple[Tensor, Tensor] | None = None) -> Picture:
        return Picture(self.renderer, self.body, self.rest, self.config, self.schema.check(controls), correction)

    def _textured(self, controls: Controls) -> Picture:
        """A pose that can be rendered; its map is kept for the next picture of the same pose."""
        picture = self._picture(controls)
        with _one_thread():
            image = self.paint(picture, controls)
            if self._folded is None or not torch.equal(self._folded[0], image):
                self._folded = image, self.renderer.texture_map(image.clamp(0, 1))
        picture.folded = self._folded[1]
        return picture
