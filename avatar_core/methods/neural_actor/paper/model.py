"""The published renderer behind the interface that every method has."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ....body import Body
from ....body.kinematics import axis_angle_to_matrix
from ....camera import Camera
from ....controls import Controls, ControlSchema
from ....data.capture import Capture
from ....frame import Frame
from ....mesh_file import Mesh
from ....quality import Quality
from ....render.tiles import Watch, render_tiles
from ...base import RayBatch
from .config import Config
from .picture import Picture
from .renderer import Renderer
from .seams import Gutter
from .training import Lessons, losses

_TILE = 1 << 14  # rays at a time


class Model(nn.Module):
    """Neural Actor as published, with SMPL's controls. Implements methods.base.Model."""

    textures: Tensor
    texture_poses: Tensor
    rest: Tensor

    def __init__(self, config: Config, body: Body) -> None:
        super().__init__()
        if not (1 <= config.textures <= 4096 and 16 <= config.texture_size <= 4096 and 0 < config.reach <= 1):
            raise ValueError("textures must be 1-4096, texture_size 16-4096 and reach up to 1 m")
        if len(body.face_uv) != len(body.faces):
            raise ValueError("Neural Actor needs a body with texture coordinates")
        self.config, self.body = config, body
        face_uv = torch.as_tensor(body.uv)[torch.as_tensor(body.face_uv).long()]
        self.renderer = Renderer(Gutter(face_uv) if config.surface == "seamless" else None)
        joints, side = len(body.joint_names), config.texture_size
        self.register_buffer("textures", torch.zeros(config.textures, side, side, 3, dtype=torch.uint8))
        self.register_buffer("texture_poses", torch.zeros(config.textures, joints, 3))
        self.register_buffer("rest", torch.eye(4).repeat(joints, 1, 1))
        self.schema = ControlSchema(
            joints=tuple(body.joint_names),
            betas=body.shapedirs.shape[2],
            expressions=tuple(body.expression_names),
        )
        self._folded: dict[int, Tensor] = {}
        self._pictures: dict[int, Picture] = {}
        self._lessons: Lessons | None = None

    def render(
        self,
        controls: Controls,
        camera: Camera,
        quality: Quality,
        cancel: Callable[[], bool] | None = None,
        progress: Callable[[float], None] | None = None,
    ) -> Frame:
        with torch.inference_mode():
            picture = self._picture(controls)
            picture.folded = self.texture(torch.as_tensor(controls.pose))
            watch = Watch(cancel, progress)
            world = picture.vertices.numpy()
            return render_tiles(
                camera, quality, lambda part: picture.tile(part, quality, watch), _TILE, world, self.config.reach, watch
            )

    def proxy_mesh(self, controls: Controls) -> tuple[np.ndarray, np.ndarray]:
        with torch.inference_mode():
            return self._picture(controls).vertices.numpy(), self.body.faces

    def surface(self, controls: Controls, detail: int) -> Mesh:
        """The posed surface, coloured; `detail` cells a centimetre. Raises AvatarError."""
        with torch.inference_mode():
            picture = self._picture(controls)
            picture.folded = self.texture(torch.as_tensor(controls.pose))
            return picture.surface(detail)

    def prepare(self, capture: Capture, frames: Sequence[int]) -> None:
        """Keeps the maps of the frames that are spread over the training; raises CaptureError for one without."""
        self._lessons = Lessons(capture, frames, self.config.texture_size)
        chosen = np.linspace(0, len(frames) - 1, self.config.textures).round().astype(int)
        for place, index in enumerate(chosen):
            self.textures[place] = (self._lessons.texture(frames[index]) * 255).round().to(torch.uint8)
            self.texture_poses[place] = torch.as_tensor(capture.frames[frames[index]].controls.pose)

    def losses(self, batches: Sequence[RayBatch]) -> dict[str, Tensor]:
        assert self._lessons is not None, "prepare() comes first"
        total: dict[str, Tensor] = {}
        for batch in batches:
            if batch.frame not in self._pictures:
                with torch.no_grad():
                    self._pictures[batch.frame] = self._picture(batch.controls)
            picture = self._pictures[batch.frame]
            picture.folded = self.renderer.texture_map(self._lessons.texture(batch.frame))
            for name, term in losses(picture, batch).items():
                total[name] = total.get(name, 0.0) + term / len(batches)
        return total

    def after_step(self, step: int, steps: int) -> None:
        self._folded.clear()

    def parameter_groups(self) -> list[dict[str, Any]]:
        return [{"params": list(self.renderer.parameters()), "lr": 5e-4}]

    def _picture(self, controls: Controls) -> Picture:
        return Picture(self.renderer, self.body, self.rest, self.config, self.schema.check(controls))

    def texture(self, pose: Tensor) -> Tensor:
        """The folded map of the stored texture whose pose [J, 3] turns the joints least away from this one, the global
        turn apart."""
        ours, theirs = axis_angle_to_matrix(pose[1:]), axis_angle_to_matrix(self.texture_poses[:, 1:])
        trace = (ours * theirs).sum((2, 3))
        index = int(torch.acos(((trace - 1) / 2).clamp(-1, 1)).sum(1).argmin())
        if index not in self._folded:
            self._folded = {index: self.renderer.texture_map(self.textures[index].float() / 255)}
        return self._folded[index]
