"""The method as the trainer and the actor see it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ...body import Body
from ...body.kinematics import axis_angle_to_matrix
from ...camera import Camera
from ...controls import Controls, ControlSchema
from ...data.capture import Capture
from ...frame import Frame
from ...mesh_file import Mesh
from ...quality import Quality
from ...render.compositing import accumulate, weights
from ...render.tiles import Watch
from ..base import RayBatch
from .config import Config
from .field import Field, joint_spread
from .losses import deformation_loss, pixel_means, ray_losses
from .mesh import extract
from .pose import BodyTensors, PosedBody, mix, pose_body, pose_vertices, to_canonical
from .raycast import RayCaster
from .shell import occupied_shell

_TRAIN_STEP = 0.008  # metres
_SEEN = 1e-4  # weight below which a sample's colour does not matter
_SHELL_EVERY = 250  # steps between prunings of the space around the body
_SHELL_POSES = 5


class Model(nn.Module):
    """A posed body and a canonical field around it. Implements methods.base.Model."""

    takes_corrections = takes_perceptual = True
    shell: Tensor

    def __init__(self, config: Config, body: Body) -> None:
        super().__init__()
        self.config, self.body = config, body
        self.tensors = BodyTensors(body)
        vertices = self.tensors.vertices
        margin = config.reach_out + config.max_offset
        bounds = torch.stack([vertices.amin(0) - margin, vertices.amax(0) + margin])
        self.field = Field(config, bounds, joint_spread(self.tensors.weights, self.tensors.parents))
        shell = torch.tensor([-config.reach_in, config.reach_out]).expand(len(vertices), 2)
        self.register_buffer("shell", shell.clone())
        self.schema = ControlSchema(
            joints=tuple(body.joint_names),
            betas=body.shapedirs.shape[2],
            expressions=tuple(body.expression_names),
        )
        self._training_poses: list[Controls] = []
        self._posed: dict[int, PosedBody] = {}
        self._shell_version = 0

    def pose(self, controls: Controls) -> PosedBody:
        """The body in a pose; raises ControlError."""
        return pose_body(self.tensors, self.schema.check(controls))

    def render(
        self,
        controls: Controls,
        camera: Camera,
        quality: Quality,
        cancel: Callable[[], bool] | None = None,
        progress: Callable[[float], None] | None = None,
    ) -> Frame:
        with torch.inference_mode():
            hasty = quality.step > self.config.voxel  # coarser voxels do, which hold the same samples
            posed = pose_body(self.tensors, self.schema.check(controls), hasty=hasty)
            caster = RayCaster(self.field, posed, self.shell, self.config.voxel * (2 if hasty else 1), quality)
            return caster.render(camera, Watch(cancel, progress))

    def proxy_mesh(self, controls: Controls) -> tuple[np.ndarray, np.ndarray]:
        with torch.inference_mode():
            vertices = pose_vertices(self.tensors, self.schema.check(controls))
            return vertices.numpy(force=True), self.body.faces

    def surface(self, controls: Controls, detail: int) -> Mesh:
        """The posed surface, coloured; `detail` cells along a voxel of 1 cm. Raises AvatarError."""
        with torch.inference_mode():
            return extract(self.field, self.pose(controls), self.shell, self.config.voxel, detail)

    def prepare(self, capture: Capture, frames: Sequence[int]) -> None:
        self._training_poses = [capture.frames[i].controls for i in frames]

    def losses(self, batches: Sequence[RayBatch], progress: float) -> dict[str, Tensor]:
        total: dict[str, Tensor] = {}
        for batch in batches:
            rgb, coverage, offset = self._march(batch)
            target = torch.as_tensor(batch.rgba, device=self.shell.device)
            terms = ray_losses(rgb, coverage, target)
            terms["deformation"] = deformation_loss(offset)
            if batch.perceptual is not None:
                white = target[:, :3] * target[:, 3:] + 1 - target[:, 3:]
                terms["perceptual"] = batch.perceptual(rgb + 1 - coverage[:, None], white)
            for name, term in terms.items():
                total[name] = total.get(name, 0.0) + term / len(batches)
        return total

    def after_step(self, step: int, steps: int) -> None:
        if step % _SHELL_EVERY == 0 and self._training_poses:
            poses = self._training_poses[:: max(1, len(self._training_poses) // _SHELL_POSES)]
            rotations = [axis_angle_to_matrix(torch.as_tensor(pose.pose, device=self.shell.device)) for pose in poses]
            self.shell.copy_(occupied_shell(self.field, self.tensors, rotations, self.config))
            self._shell_version += 1

    def parameter_groups(self) -> list[dict[str, Any]]:
        tables = [self.field.fine.table, self.field.coarse.table]
        rest = [p for p in self.field.parameters() if not any(p is table for table in tables)]
        return [{"params": tables, "lr": 1e-2}, {"params": rest, "lr": 2e-3}]

    def _posed_for(self, batch: RayBatch) -> PosedBody:
        if batch.correction is not None:
            return pose_body(self.tensors, batch.controls, batch.correction)
        if batch.frame not in self._posed:
            with torch.no_grad():
                self._posed[batch.frame] = self.pose(batch.controls)
        return self._posed[batch.frame]

    def _march(self, batch: RayBatch) -> tuple[Tensor, Tensor, Tensor]:
        """Premultiplied sRGB [N, 3] and coverage [N] of the pixels, and the residual deformation of all samples
        [S, 3]."""
        posed = self._posed_for(batch)
        origins, directions = (
            torch.as_tensor(array, device=self.shell.device) for array in batch.camera.rays(batch.pixels.reshape(-1, 2))
        )
        with torch.no_grad():
            grid = posed.grid(self.shell, self.config.voxel, self._shell_version)
            samples = grid.sample(origins, directions, _TRAIN_STEP, torch.rand_like(origins[:, 0]))
            places = origins[samples.ray] + samples.distance[:, None] * directions[samples.ray]
        with torch.set_grad_enabled(batch.correction is not None):
            points = to_canonical(posed, places, float(self.shell.abs().max()))
            low, high = points.interpolate(self.shell).unbind(1)
            inside = torch.nonzero((points.height >= low) & (points.height <= high)).squeeze(1)
            ray, facing = samples.ray[inside], points.facing[inside]
        code = mix(self.field.surface_code(posed.rotations), points.vertices[inside], points.bary[inside])
        density, features, offset = self.field.density(points.points[inside], points.height[inside], code)
        weight = weights(density, samples.step, ray)
        seen = torch.nonzero(weight.detach() > _SEEN).squeeze(1)
        colours = self.field.colours((features[0][seen], features[1][seen]), facing[seen])
        rgb = accumulate(weight[seen], colours, ray[seen], len(origins))
        coverage = accumulate(weight, None, ray, len(origins))
        count = len(batch.pixels)
        return *pixel_means(rgb.view(count, -1, 3), coverage.view(count, -1)), offset
