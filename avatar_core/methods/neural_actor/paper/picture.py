"""One pose of a body before the published renderer."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import cached_property

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import normalize

from ....body import Body
from ....body.kinematics import axis_angle_to_matrix, relative_transforms
from ....camera import Camera
from ....controls import Controls
from ....frame import srgb_to_linear
from ....mesh_file import Mesh
from ....quality import Quality
from ....render import isosurface
from ....render.normals import vertex_normals
from ....render.tiles import Watch, empty_planes
from .config import Config
from .geometry import PosedMesh, to_frame, to_world
from .rays import EMPTY, Pixels, near_far
from .renderer import Renderer
from .shell import Shell

_VISIBLE = 1 / 512  # coverage below which a pixel is empty


class Picture:
    """One pose: the mesh in the frame's own space, and how that lies in the world.

    folded: the texture's map (Renderer.texture_map), set before `march` or `tile`.
    """

    folded: Tensor

    def __init__(
        self,
        renderer: Renderer,
        body: Body,
        rest: Tensor,
        config: Config,
        controls: Controls,
        correction: tuple[Tensor, Tensor] | None = None,
    ) -> None:
        self.renderer, self.config, self.reach = renderer, config, config.reach
        self.device = rest.device
        faces, uv, face_uv = (self._here(array) for array in (body.faces, body.uv, body.face_uv))
        pose, transl = self._here(controls.pose), self._here(controls.transl)
        if correction is not None:
            pose, transl = pose + correction[0], transl + correction[1]
        joints = self._here(body.joints(controls.betas))
        shaped = self._here(body.shaped(controls.betas, controls.expression))
        turn = axis_angle_to_matrix(pose[0])
        self.rotation = turn.T
        self.translation = (joints[0] + transl - turn @ joints[0])[None]  # the root turns about the pelvis
        still = torch.cat([torch.zeros_like(pose[:1]), pose[1:]])
        transforms = relative_transforms(still, joints, body.parents)
        offsets = self._here(body.vertices) - shaped
        self.mesh = PosedMesh.pose(
            shaped,
            faces.long(),
            uv[face_uv.long()],
            self._here(body.weights),
            transforms,
            rest,
            offsets if bool(offsets.any()) else None,
            config.surface == "seamless",
        )
        self.joints = to_world(
            (transforms[:, :3, :3] @ joints[..., None]).squeeze(-1) + transforms[:, :3, 3], *self._turn
        )
        self.vertices = to_world(self.mesh.vertices, *self._turn)
        self.normals = vertex_normals(self.vertices.detach(), self.mesh.faces)

    def _here(self, values: np.ndarray) -> Tensor:
        return torch.as_tensor(values, device=self.device)

    @property
    def _turn(self) -> tuple[Tensor, Tensor]:
        return self.rotation, self.translation

    @cached_property
    def _shell(self) -> Shell:
        return Shell(self.mesh, self.reach)

    def _rays(self, origins: Tensor, directions: Tensor) -> tuple[Tensor, Tensor]:
        """Rays of the world in the frame's space."""
        return to_frame(origins, *self._turn), directions @ self.rotation.T

    def _views(self, directions: Tensor) -> Tensor:
        """The directions [R, 3] that colours depend on, of rays of the world."""
        return directions @ self.rotation.T if self.config.views == "root" else directions

    def march(
        self,
        origins: Tensor,
        directions: Tensor,
        near: Tensor,
        far: Tensor,
        noise: Tensor | None = None,
        check: Callable[[], None] = lambda: None,
    ) -> tuple[Pixels, Tensor]:
        """Renderer.render for rays of the world, [R, 3]; near, far: [R]."""
        rays = self._rays(origins, directions)
        return self.renderer.render(self.mesh, self.folded, rays, self._views(directions), (near, far), noise, check)

    def surface(self, detail: int) -> Mesh:
        """The posed surface; `detail` cells a centimetre. Deep inside of the body all is full. Raises AvatarError."""

        def density(points: Tensor) -> Tensor:
            at = self.mesh.locate(points)
            height = at.local[:, 2]
            values = torch.where(height < 0, 2 * isosurface.LEVEL, 0.0)
            near = torch.nonzero(height.abs() < self.reach).squeeze(1)
            values[near] = self.renderer.look(at.at(near), self.folded).density
            return values

        def colour(points: Tensor, outward: Tensor) -> Tensor:
            views = -outward if self.config.views == "root" else -outward @ self.rotation
            return (self.renderer.shade(self.mesh.locate(points), self.folded, views)[1].clamp(-1, 1) + 1) / 2

        grid = self._shell.grid
        mesh = isosurface.extract(density, colour, grid, max(1, round(detail * grid.voxel / 0.01)))
        return replace(mesh, vertices=to_world(self._here(mesh.vertices), *self._turn).numpy(force=True))

    def tile(self, camera: Camera, quality: Quality, watch: Watch) -> dict[str, np.ndarray]:
        """The planes of Frame, a row a pixel."""
        origins, directions = (self._here(array) for array in camera.rays())
        hit, near, far = near_far(origins, directions, self.vertices, self.joints, self.reach)
        watch.check()
        planes = empty_planes(len(origins))
        hits = torch.nonzero(hit).squeeze(1)
        if hits.numel() == 0:
            return planes
        if self.config.sampler == "shell":
            rays, views = self._rays(origins[hits], directions[hits]), self._views(directions[hits])
            pixels = self._shell.march(self.renderer, self.folded, rays, views, quality, watch.check)
        else:
            pixels, _ = self.march(origins[hits], directions[hits], near[hits], far[hits], check=watch.check)
        alpha = (1 - pixels.missed).clamp(0, 1)
        seen = alpha > _VISIBLE
        hits, alpha = hits[seen], alpha[seen]
        straight = ((pixels.colour[seen] - pixels.missed[seen, None]) / alpha[:, None] + 1) / 2  # white is taken out
        distance = (pixels.distance[seen] - EMPTY * pixels.missed[seen]) / alpha
        along = directions[hits]
        at = self.mesh.locate(to_frame(origins[hits] + distance[:, None] * along, *self._turn))
        corners = self.normals[self.mesh.faces[at.face]]
        found = {
            "depth": distance * (along @ self._here(camera.forward.astype(np.float32))),
            "normal": normalize((at.bary[..., None] * corners).sum(1), dim=1),
            "mask": alpha,
        }
        where, mask = hits.numpy(force=True), alpha.numpy(force=True)[:, None]
        linear = srgb_to_linear(straight.clamp(0, 1).numpy(force=True)) * mask
        planes["rgba"][where] = np.concatenate([linear, mask], 1)
        for name, plane in found.items():
            planes[name][where] = plane.numpy(force=True)
        return planes
