"""gDNA behind the interface that every method has."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ...body import Body
from ...camera import Camera, CameraError
from ...controls import Controls, ControlSchema
from ...cuda.raster import homogeneous_pixels, interpolate, rasterise
from ...frame import EMPTY_DEPTH, Frame, srgb_to_linear
from ...mesh_file import Mesh
from ...quality import Quality
from ...render.tiles import Watch, render_tiles
from ...rigged_mesh import RiggedMesh
from .body import BETAS, SmplBody
from .codes import Codes
from .config import Config
from .extraction import Box
from .field import Networks, Person, extent
from .posing import PersonMesh
from .rigging import rig

_MARGIN = 0.15  # metres around the bare body where there may be clothes
_TILE = 1 << 20  # pixels at a time
_GREY = 0.8  # sRGB of a surface that faces the camera
_FINEST = 0.0025  # metres, of exports


@dataclass(frozen=True)
class _Made:
    """A person before the pose. shaped: [V, 3] canonical with betas. normals: [V, 3] of the detail code. colours:
    [V, 3] display sRGB of the colour code."""

    person: Person
    mesh: PersonMesh
    shaped: Tensor
    normals: Tensor | None
    colours: Tensor | None


class Model(nn.Module):
    """A generator of people with SMPL's controls; latents 'shape', 'detail' and 'colour' are coordinates of `Codes`.
    Implements methods.base.Model, SurfaceModel and RiggedModel."""

    def __init__(self, config: Config, body: Body) -> None:
        super().__init__()
        octaves = all(0 <= count <= 16 for count in (config.frequencies, config.colours))
        if not (octaves and 1 <= config.people <= 1 << 16 and 0.002 <= config.cell <= 0.05):
            raise ValueError("people must be 1-65536, frequencies 0-16 and cell 0.002-0.05 m")
        self.config, self.body = config, body
        self.networks = Networks(config.frequencies, config.colours)
        self.shape = Codes(config.people)
        self.detail = Codes(config.people) if config.frequencies else None
        self.colour = Codes(config.people) if config.colours else None
        codes = {"shape": self.shape} | ({"detail": self.detail} if self.detail else {})
        codes |= {"colour": self.colour} if self.colour else {}
        self.schema = ControlSchema(
            joints=tuple(body.joint_names),
            betas=BETAS,
            latents={name: len(code.people[0]) for name, code in codes.items()},
        )
        self._kept: dict[str, tuple[Any, Any]] = {}

    def render(
        self,
        controls: Controls,
        camera: Camera,
        quality: Quality,
        cancel: Callable[[], bool] | None = None,
        progress: Callable[[float], None] | None = None,
    ) -> Frame:
        if camera.distortion.any():
            raise CameraError("actors of gDNA are meshes, which lens distortion would bend; give a camera without it")
        watch = Watch(cancel, progress)
        with torch.inference_mode():
            vertices, faces, normals, learnt = self._posed(controls, self.config.cell, watch.check)
            colours = torch.as_tensor(self._colours(vertices, normals, learnt, camera.position))
            attributes = torch.cat([normals, colours], 1)

            def tile(part: Camera) -> dict[str, np.ndarray]:
                seen = rasterise(homogeneous_pixels(vertices, part), faces, part.height, part.width)
                planes = interpolate(attributes, faces, seen.face, seen.bary).reshape(-1, 6)
                full = (seen.face >= 0).reshape(-1, 1).float()
                depth = torch.where(seen.face >= 0, seen.depth, EMPTY_DEPTH).reshape(-1)
                return {
                    "rgba": torch.cat([planes[:, 3:], full], 1).numpy(),
                    "depth": depth.numpy(),
                    "normal": torch.nn.functional.normalize(planes[:, :3], dim=1).numpy(),
                    "mask": full[:, 0].numpy(),
                }

            return render_tiles(camera, quality, tile, _TILE, vertices.numpy(), 0.0, watch)

    def proxy_mesh(self, controls: Controls) -> tuple[np.ndarray, np.ndarray]:
        with torch.inference_mode():
            return self._body().pose(*self._pose(controls)).vertices.numpy(), self.body.faces

    def surface(self, controls: Controls, detail: int) -> Mesh:
        """Cells are a centimetre / `detail`, but not below 2.5 mm; colours are those of pictures from the front."""
        with torch.inference_mode():
            vertices, faces, normals, learnt = self._posed(controls, _cell(detail), lambda: None)
            front = vertices.mean(0).numpy() + np.array([0, 0, 10.0])
            linear = self._colours(vertices, normals, learnt, front, linear=False)
            return Mesh(vertices.numpy(), faces.int().numpy(), linear)

    def rigged(self, controls: Controls, detail: int) -> RiggedMesh:
        """Cells as of `surface`; the pose is of no account."""
        with torch.inference_mode():
            made = self._made(self.schema.check(controls), _cell(detail), lambda: None)
            return rig(made.person, made.mesh, made.shaped, made.normals, made.colours, self._body())

    def _posed(
        self, controls: Controls, cell: float, check: Callable[[], None]
    ) -> tuple[Tensor, Tensor, Tensor, Tensor | None]:
        """Vertices [V, 3], world; faces [F, 3]; unit normals [V, 3]; colours [V, 3] that were learnt."""
        controls = self.schema.check(controls)
        made = self._made(controls, cell, check)
        bones = self._body().pose(*self._pose(controls)).bones
        vertices, unit = made.mesh.posed(made.shaped, bones, made.normals)
        return vertices, made.mesh.faces, unit, made.colours

    def _made(self, controls: Controls, cell: float, check: Callable[[], None]) -> _Made:
        shape, betas = torch.as_tensor(controls.latents["shape"]), torch.as_tensor(controls.betas)
        person = self._keep("person", (shape, betas), lambda: self.networks.person(self.shape(shape), betas))

        def make() -> PersonMesh:
            neutral = self._body().canonical(torch.zeros(BETAS)).vertices.numpy()
            return PersonMesh.of(person, Box.around(neutral, _MARGIN, extent(), cell), check)

        mesh = self._keep("mesh", (shape, torch.tensor(cell)), make)
        shaped = self._keep("shaped", (shape, torch.tensor(cell), betas), lambda: mesh.shaped(person))
        normals = None
        if self.detail is not None:
            code = torch.as_tensor(controls.latents["detail"])
            learnt = self.detail(code)
            normals = self._keep("normals", (shape, torch.tensor(cell), code), lambda: mesh.detailed(person, learnt))
        colours = None
        if self.colour is not None:
            tint = torch.as_tensor(controls.latents["colour"])
            dye = self.colour(tint)
            colours = self._keep("colours", (shape, torch.tensor(cell), tint), lambda: mesh.coloured(person, dye))
        return _Made(person, mesh, shaped, normals, colours)

    def _pose(self, controls: Controls) -> tuple[Tensor, Tensor, Tensor]:
        return torch.as_tensor(controls.pose), torch.as_tensor(controls.betas), torch.as_tensor(controls.transl)

    def _body(self) -> SmplBody:
        return self._keep("body", (), lambda: SmplBody(self.body))

    def _keep(self, name: str, inputs: tuple[Tensor, ...], make: Callable[[], Any]) -> Any:
        """What `make` gives, kept as long as its inputs stay the same: a pose alone costs no network."""
        kept = self._kept.get(name)
        if kept is None or not all(map(torch.equal, kept[0], inputs)):
            kept = self._kept[name] = tuple(one.clone() for one in inputs), make()
        return kept[1]

    def _colours(
        self, vertices: Tensor, normals: Tensor, learnt: Tensor | None, eye: np.ndarray, linear: bool = True
    ) -> np.ndarray:
        """[V, 3], scene-linear or display sRGB."""
        if self.config.picture == "colour" and learnt is not None:
            colours = learnt
        elif self.config.picture == "normals":
            colours = 0.5 * normals + 0.5
        else:
            towards = torch.nn.functional.normalize(torch.as_tensor(eye, dtype=torch.float32) - vertices, dim=1)
            colours = _GREY * (normals * towards).sum(1, keepdim=True).clamp(min=0).expand(-1, 3)
        values = colours.numpy()
        return srgb_to_linear(values).astype(np.float32) if linear else np.ascontiguousarray(values)


def _cell(detail: int) -> float:
    return max(0.01 / detail, _FINEST)
