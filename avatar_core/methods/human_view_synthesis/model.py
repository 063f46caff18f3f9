"""The method behind the interface that every method has: points or a pose to a frame."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor, nn

from ...body import Body
from ...camera import Camera
from ...controls import ControlError, Controls, ControlSchema
from ...errors import AvatarError
from ...frame import EMPTY_DEPTH, Frame, srgb_to_linear
from ...quality import Quality
from ...render.tiles import Watch
from .appearance import input_picture
from .config import Config
from .folded import Box, FoldedDecoder
from .framing import latent_plane, window
from .generator import Generator
from .passes import guessed_alpha, limb_planes, spread, tube_normals
from .primitives import Gaussians
from .rigs import JointMap

_VISIBLE = 1 / 512  # coverage below which a pixel is empty
_LIVELY = 0.5  # scale of a quality up to which half precision will do
_ROOM = 16  # of the picture, about limbs: one part of so many
_STEP = 16  # pixels to which the drawn box is rounded, so that its size seldom changes


class Model(nn.Module):
    """Implements methods.base.LimbedModel. appearance: [P, A] the person's; the control of that name replaces it."""

    appearance: Tensor

    def __init__(self, config: Config, body: Body) -> None:
        super().__init__()
        self.config, self.body = config, body
        self.exact = config.published  # files keep what was published to the last bit
        skeleton = config.skeleton_of()
        self.skeleton, self.limb_names = skeleton, skeleton.limb_names
        self.generator = Generator(config)
        self.register_buffer("appearance", torch.zeros(len(self.generator.primitives), config.features))
        names = tuple(body.joint_names)
        self._map = JointMap(skeleton, body) if "pelvis" in names else None
        self.schema = ControlSchema(
            joints=names if self._map is not None else (),
            betas=body.shapedirs.shape[2] if self._map is not None else 0,
            appearance=self.appearance.numel(),
            points=skeleton.joints,
        )
        self._decoder: tuple[tuple[bytes, torch.dtype], FoldedDecoder] | None = None

    def read_appearance(self, pictures: Sequence[np.ndarray]) -> np.ndarray:
        """[P A], the mean over pictures [H, W, 3 or 4] uint8 of one person, display sRGB; the square in their middle
        counts, which the person should fill. Raises AvatarError for an actor without that network."""
        encoder = self.generator.i2a
        if encoder is None:
            raise AvatarError("this actor has no network that reads appearances; import or train it with the encoder")
        if not pictures or any(p.ndim != 3 or p.shape[2] < 3 or not p.size for p in pictures):
            raise AvatarError("an appearance is read from one or more pictures in colour")
        with torch.no_grad():
            found = [
                encoder(input_picture(pixels, self.config.reads)[None].to(self.appearance))[0] for pixels in pictures
            ]
            return torch.stack(found).mean(0).flatten().cpu().numpy()

    def look_like(self, appearance: np.ndarray) -> None:
        """Makes this the person that the actor shows where no control says another."""
        self.appearance.copy_(torch.as_tensor(appearance).view_as(self.appearance))

    def lift(self, points: np.ndarray, seen: np.ndarray, size: tuple[int, int]) -> np.ndarray | None:
        """[J, 3] metres about the root in a camera's axes, from joints [J, 2] (pixels of its whole picture of `size`)
        of which [J] bool are seen; None for an actor without that network."""
        if self.generator.p2p is None:
            return None
        inputs = (torch.as_tensor(array)[None].to(self.appearance.device) for array in (points, seen, np.array(size)))
        pixels, sure, sides = inputs
        with torch.no_grad():
            return self.generator.p2p(pixels.to(self.appearance), sure, sides)[0].cpu().numpy()

    def points(self, controls: Controls) -> np.ndarray:
        """[J, 3] metres, world; NaN for joints that are not known."""
        if controls.points.size:
            return controls.points
        if self._map is None:
            raise ControlError("this actor has no body of its own: drive it with 'points', the joints of a rig")
        return self._map.points(controls).numpy()

    def render(
        self,
        controls: Controls,
        camera: Camera,
        quality: Quality,
        cancel: Callable[[], bool] | None = None,
        progress: Callable[[float], None] | None = None,
    ) -> Frame:
        watch, points = Watch(cancel, progress), self.points(controls)
        seen = window(camera, points, self.config.extent, self.config.size)
        if seen is None:
            return _empty(camera)
        watch.check()
        with torch.no_grad():
            square = seen.camera(camera, self.config.size)
            local = points.astype(np.float64) @ camera.world_to_camera[:3, :3].T + camera.world_to_camera[:3, 3]
            joints = torch.as_tensor(local.astype(np.float32)).to(self.appearance)
            gaussians = self.generator.primitives(joints)
            if not bool(torch.isfinite(gaussians.centres).all(1).any()):
                raise ControlError("no limb has both of its joints; map more of the rig's bones to the actor's joints")
            appearance = self._appearance(controls)
            rays = latent_plane(square, self.config.size, False).to(self.appearance)
            depth, which = limb_planes(rays, gaussians)
            box = _around(which >= 0)
            if box is None:
                return _empty(camera)
            rays_of_latent = latent_plane(square, self.config.latent, self.config.published).to(self.appearance)
            latent = self.generator.latents(joints[None], appearance[None], [rays_of_latent])[0]
            watch.check()
            sure = quality.scale > _LIVELY or not self.appearance.is_cuda  # half precision is no faster on CPUs
            dtype = torch.float32 if sure else torch.bfloat16
            picture = self._folded(appearance, dtype)(latent.features[None], box)[0]
            watch.check()
            planes = self._planes(picture, box, rays, depth, which, gaussians)
            size = camera.width, camera.height
            return self._frame(seen.place(planes[0], *size), seen.place(planes[1], *size, nearest=True), camera)

    def proxy_mesh(self, controls: Controls) -> tuple[np.ndarray, np.ndarray]:
        """Octahedra along the limbs."""
        points = self.points(controls)
        with torch.no_grad():
            found = self.generator.primitives(torch.as_tensor(points).to(self.appearance))
        return _spindles(found)

    def _appearance(self, controls: Controls) -> Tensor:
        given = controls.appearance
        return torch.as_tensor(given).to(self.appearance).view_as(self.appearance) if given.any() else self.appearance

    def _folded(self, appearance: Tensor, dtype: torch.dtype) -> FoldedDecoder:
        """The decoder of a person; the last one is kept."""
        key = appearance.cpu().numpy().tobytes(), dtype
        if self._decoder is None or self._decoder[0] != key:
            self._decoder = key, FoldedDecoder(self.generator.r2i, appearance.flatten(), dtype)
        return self._decoder[1]

    def _planes(
        self, picture: Tensor, box: Box, rays: Tensor, depth: Tensor, which: Tensor, gaussians: Gaussians
    ) -> tuple[Tensor, Tensor]:
        """Colour (linear, premultiplied) and coverage [4, s, s]; depth, normal, and limb + 1 [5, s, s]. Nothing is
        outside of the box."""
        here = slice(box.top, box.bottom), slice(box.left, box.right)
        drawn, near = picture[:, *here], which[here]
        colour = drawn[:3].clamp(0, 1)
        if self.config.alpha:
            alpha = drawn[3].clamp(0, 1)
        else:
            background = torch.tensor(self.skeleton.background).to(colour)
            alpha = guessed_alpha(colour, background, near >= 0)
            behind = (1 - alpha) * background[:, None, None]
            colour = ((colour - behind) / alpha.clamp(min=_VISIBLE)).clamp(0, 1)
        values = torch.stack([depth[here], near.to(depth)])
        depth, which = spread(values, near >= 0, alpha > _VISIBLE)
        normal = tube_normals(rays[here], depth, which.long(), gaussians)
        linear = torch.as_tensor(srgb_to_linear(colour.cpu().numpy())).to(colour)
        limb = self.generator.primitives.limb_of(which.long()).to(depth)
        covered, shape = picture.new_zeros(4, *picture.shape[1:]), picture.new_zeros(5, *picture.shape[1:])
        covered[:, *here] = torch.cat([linear * alpha, alpha[None]])
        shape[:, *here] = torch.cat([depth[None], normal.permute(2, 0, 1), limb[None] + 1])
        return covered, shape

    def _frame(self, colour: Tensor, shape: Tensor, camera: Camera) -> Frame:
        rgba = colour.permute(1, 2, 0).contiguous().cpu().numpy().astype(np.float32)
        depth, limb = shape[0].cpu().numpy(), shape[4].cpu().numpy().astype(np.int32) - 1
        shown = (rgba[..., 3] > _VISIBLE) & (depth > 0)
        normal = shape[1:4].permute(1, 2, 0).cpu().numpy() @ camera.world_to_camera[:3, :3].astype(np.float32)
        rgba = np.where(shown[..., None], rgba, 0)
        return Frame(
            rgba,
            np.where(shown, depth, EMPTY_DEPTH).astype(np.float32),
            np.where(shown[..., None], normal, 0).astype(np.float32),
            rgba[..., 3].copy(),
            np.where(shown, limb, -1).astype(np.int32),
        )


def _around(seen: Tensor) -> Box | None:
    """The box of what [H, W] bool is seen, with room for hair and clothes, in whole steps; None for nothing."""
    rows, columns = (torch.nonzero(seen.any(axis)).flatten().tolist() for axis in (1, 0))
    if not rows:
        return None
    height, width = seen.shape
    room, step = width // _ROOM, _STEP
    low = [max(0, (first - room) // step * step) for first in (rows[0], columns[0])]
    high = [
        min(side, -(-(last + 1 + room) // step) * step) for last, side in ((rows[-1], height), (columns[-1], width))
    ]
    return Box(low[0], high[0], low[1], high[1])


def _empty(camera: Camera) -> Frame:
    blank = Frame.empty(camera.width, camera.height)
    return Frame(blank.rgba, blank.depth, blank.normal, blank.mask, np.full(blank.depth.shape, -1, np.int32))


def _spindles(gaussians: Gaussians) -> tuple[np.ndarray, np.ndarray]:
    here = torch.isfinite(gaussians.centres).all(1)
    centres, axes, widths = (getattr(gaussians, name)[here].cpu().numpy() for name in ("centres", "axes", "widths"))
    widths = widths[:, None]
    unit = axes / np.maximum(np.linalg.norm(axes, axis=1, keepdims=True), 1e-6)
    least = np.eye(3, dtype=np.float32)[np.abs(unit).argmin(1)]
    first = np.cross(unit, least)
    first /= np.linalg.norm(first, axis=1, keepdims=True)
    second = np.cross(unit, first)
    corners = [-axes / 2, axes / 2, widths * first, widths * second, -widths * first, -widths * second]
    vertices = (centres[:, None] + np.stack(corners, 1)).reshape(-1, 3).astype(np.float32)
    sides = [(2, 3), (3, 4), (4, 5), (5, 2)]
    faces = np.array([(0, b, a) for a, b in sides] + [(1, a, b) for a, b in sides])
    return vertices, (np.arange(len(centres))[:, None, None] * 6 + faces).reshape(-1, 3).astype(np.int32)
