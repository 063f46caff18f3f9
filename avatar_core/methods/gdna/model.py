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
        self._kept: dict[str, tuple[torch.device, tuple[np.ndarray, ...], Any]] = {}

    @property
    def device(self) -> torch.device:
        return self.shape.mean.device

    def tensor(self, values: np.ndarray) -> Tensor:
        """Values that come from outside, where the model is."""
        return torch.as_tensor(values, device=self.device)

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
            colours = srgb_to_linear(self._colours(vertices, normals, learnt, camera.position).cpu().numpy())
            attributes = torch.cat([normals, self.tensor(colours.astype(np.float32))], 1)

            def tile(part: Camera) -> dict[str, np.ndarray]:
                seen = rasterise(homogeneous_pixels(vertices, part), faces, part.height, part.width)
                planes = interpolate(attributes, faces, seen.face, seen.bary).reshape(-1, 6)
                full = (seen.face >= 0).reshape(-1, 1).float()
                depth = torch.where(seen.face >= 0, seen.depth, EMPTY_DEPTH).reshape(-1)
                made = {
                    "rgba": torch.cat([planes[:, 3:], full], 1),
                    "depth": depth,
                    "normal": torch.nn.functional.normalize(planes[:, :3], dim=1),
                    "mask": full[:, 0],
                }
                return {name: plane.cpu().numpy() for name, plane in made.items()}

            return render_tiles(camera, quality, tile, _TILE, vertices.cpu().numpy(), 0.0, watch)

    def proxy_mesh(self, controls: Controls) -> tuple[np.ndarray, np.ndarray]:
        with torch.inference_mode():
            return self._body().pose(*self._pose(controls)).vertices.cpu().numpy(), self.body.faces

    def surface(self, controls: Controls, detail: int) -> Mesh:
        """Cells are a centimetre / `detail`, but not below 2.5 mm; colours are those of pictures from the front."""
        with torch.inference_mode():
            vertices, faces, normals, learnt = self._posed(controls, _cell(detail), lambda: None)
            front = vertices.mean(0).cpu().numpy() + np.array([0, 0, 10.0])
            colours = self._colours(vertices, normals, learnt, front)
            return Mesh(*(values.cpu().contiguous().numpy() for values in (vertices, faces.int(), colours)))

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
        codes, betas = controls.latents, self.tensor(controls.betas)
        shape = codes["shape"]
        person = self._keep(
            "person", (shape, controls.betas), lambda: self.networks.person(self.shape(self.tensor(shape)), betas)
        )

        def make() -> PersonMesh:
            neutral = self._body().canonical(torch.zeros_like(betas)).vertices.cpu().numpy()
            return PersonMesh.of(person, Box.around(neutral, _MARGIN, extent(), cell), check)

        mesh = self._keep("mesh", (shape, cell), make)
        shaped = self._keep("shaped", (shape, cell, controls.betas), lambda: mesh.shaped(person))
        normals = None
        if self.detail is not None:
            detail = self.detail(self.tensor(codes["detail"]))
            normals = self._keep("normals", (shape, cell, codes["detail"]), lambda: mesh.detailed(person, detail))
        colours = None
        if self.colour is not None:
            colour = self.colour(self.tensor(codes["colour"]))
            colours = self._keep("colours", (shape, cell, codes["colour"]), lambda: mesh.coloured(person, colour))
        return _Made(person, mesh, shaped, normals, colours)

    def _pose(self, controls: Controls) -> tuple[Tensor, Tensor, Tensor]:
        return self.tensor(controls.pose), self.tensor(controls.betas), self.tensor(controls.transl)

    def _body(self) -> SmplBody:
        return self._keep("body", (), lambda: SmplBody(self.body, device=self.device))

    def _keep(self, name: str, inputs: tuple[np.ndarray | float, ...], make: Callable[[], Any]) -> Any:
        """What `make` gives, kept as long as its inputs and the device stay the same: a pose alone costs no network."""
        kept = self._kept.get(name)
        if kept is None or kept[0] != self.device or not all(map(np.array_equal, kept[1], inputs)):
            kept = self._kept[name] = self.device, tuple(map(np.copy, inputs)), make()
        return kept[2]

    def _colours(self, vertices: Tensor, normals: Tensor, learnt: Tensor | None, eye: np.ndarray) -> Tensor:
        """[V, 3], display sRGB."""
        if self.config.picture == "colour" and learnt is not None:
            return learnt
        if self.config.picture == "normals":
            return 0.5 * normals + 0.5
        towards = torch.nn.functional.normalize(self.tensor(eye.astype(np.float32)) - vertices, dim=1)
        return _GREY * (normals * towards).sum(1, keepdim=True).clamp(min=0).expand(-1, 3)


def _cell(detail: int) -> float:
    return max(0.01 / detail, _FINEST)
