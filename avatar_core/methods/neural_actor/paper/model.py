"""The published renderer behind the interface that every method has."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor, nn

from ....body import Body
from ....body.kinematics import axis_angle_to_matrix, relative_transforms
from ....camera import Camera
from ....controls import Controls, ControlSchema
from ....frame import EMPTY_DEPTH, Frame, srgb_to_linear
from ....render.tiles import Watch, render_tiles
from ...base import Quality
from ..pose import vertex_normals
from .config import Config
from .geometry import PosedMesh, to_frame, to_world
from .rays import EMPTY, near_far
from .renderer import Renderer

_TILE = 1 << 14  # rays at a time
_VISIBLE = 1 / 512  # coverage below which a pixel is empty


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
        self.renderer = Renderer()
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

    def render(
        self,
        controls: Controls,
        camera: Camera,
        quality: Quality,
        cancel: Callable[[], bool] | None = None,
        progress: Callable[[float], None] | None = None,
    ) -> Frame:
        with torch.inference_mode():
            picture = _Picture(self, self.schema.check(controls))
            watch = Watch(cancel, progress)
            world = picture.vertices.numpy()
            return render_tiles(
                camera, quality, lambda part: picture.tile(part, watch), _TILE, world, self.config.reach, watch
            )

    def proxy_mesh(self, controls: Controls) -> tuple[np.ndarray, np.ndarray]:
        with torch.inference_mode():
            return _Picture(self, self.schema.check(controls)).vertices.numpy(), self.body.faces

    def texture(self, pose: Tensor) -> Tensor:
        """The folded map of the stored texture whose pose [J, 3] turns the joints least away from this one, the global
        turn apart."""
        ours, theirs = axis_angle_to_matrix(pose[1:]), axis_angle_to_matrix(self.texture_poses[:, 1:])
        trace = (ours * theirs).sum((2, 3))
        index = int(torch.acos(((trace - 1) / 2).clamp(-1, 1)).sum(1).argmin())
        if index not in self._folded:
            self._folded = {index: self.renderer.texture_map(self.textures[index].float() / 255)}
        return self._folded[index]


class _Picture:
    """One pose: the mesh in the frame's own space, and how that lies in the world."""

    def __init__(self, model: Model, controls: Controls) -> None:
        self.model, body = model, model.body
        pose, transl = torch.as_tensor(controls.pose), torch.as_tensor(controls.transl)
        joints = torch.as_tensor(body.joints(controls.betas))
        shaped = torch.as_tensor(body.shaped(controls.betas, controls.expression))
        turn = axis_angle_to_matrix(pose[0])
        self.rotation = turn.T
        self.translation = (joints[0] + transl - turn @ joints[0])[None]  # the root turns about the pelvis
        still = torch.cat([torch.zeros(1, 3), pose[1:]])
        transforms = relative_transforms(still, joints, body.parents)
        offsets = torch.as_tensor(body.vertices) - shaped
        self.mesh = PosedMesh.pose(
            shaped,
            torch.as_tensor(body.faces).long(),
            torch.as_tensor(body.uv)[torch.as_tensor(body.face_uv).long()],
            torch.as_tensor(body.weights),
            transforms,
            model.rest,
            offsets if bool(offsets.any()) else None,
        )
        self.joints = to_world(
            (transforms[:, :3, :3] @ joints[..., None]).squeeze(-1) + transforms[:, :3, 3], *self._turn
        )
        self.vertices = to_world(self.mesh.vertices, *self._turn)
        self.normals = vertex_normals(self.vertices, self.mesh.faces)
        self.folded = model.texture(pose)

    @property
    def _turn(self) -> tuple[Tensor, Tensor]:
        return self.rotation, self.translation

    def tile(self, camera: Camera, watch: Watch) -> dict[str, np.ndarray]:
        """The planes of Frame, a row a pixel."""
        origins, directions = (torch.as_tensor(array) for array in camera.rays())
        hit, near, far = near_far(origins, directions, self.vertices, self.joints, self.model.config.reach)
        watch.check()
        count = len(origins)
        planes = {
            "rgba": np.zeros((count, 4), np.float32),
            "depth": np.full(count, EMPTY_DEPTH, np.float32),
            "normal": np.zeros((count, 3), np.float32),
            "mask": np.zeros(count, np.float32),
        }
        hits = torch.nonzero(hit).squeeze(1)
        if hits.numel() == 0:
            return planes
        rays = to_frame(origins[hits], *self._turn), directions[hits] @ self.rotation.T
        pixels = self.model.renderer.render(
            self.mesh, self.folded, rays, directions[hits], (near[hits], far[hits]), check=watch.check
        )
        alpha = (1 - pixels.missed).clamp(0, 1)
        seen = alpha > _VISIBLE
        hits, alpha = hits[seen], alpha[seen, None]
        straight = ((pixels.colour[seen] - pixels.missed[seen, None]) / alpha + 1) / 2  # white is taken out
        linear = srgb_to_linear(straight.clamp(0, 1).numpy()) * alpha.numpy()
        distance = (pixels.distance[seen] - EMPTY * pixels.missed[seen]) / alpha[:, 0]
        along = directions[hits]
        places = origins[hits] + distance[:, None] * along
        at = self.mesh.locate(to_frame(places, *self._turn))
        corners = self.normals[self.mesh.faces[at.face]]
        planes["rgba"][hits] = np.concatenate([linear, alpha.numpy()], 1)
        planes["depth"][hits] = (distance * (along @ torch.as_tensor(camera.forward, dtype=torch.float32))).numpy()
        planes["normal"][hits] = nn.functional.normalize((at.bary[..., None] * corners).sum(1), dim=1).numpy()
        planes["mask"][hits] = alpha[:, 0].numpy()
        return planes
