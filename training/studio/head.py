"""A film of the studio character's head in NeRFBlendShape's layout: expressions, head poses, labels, landmarks.

Drawn by our own rasteriser, in milliseconds a frame. The head stays in its own frame and the camera moves about it, as
tracked films have it; light comes from above the head, so that turning does not change its colours.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn.functional import grid_sample, normalize

from avatar_core.body.expressions import EXPRESSIONS, SHAPE_KEYS
from avatar_core.camera import Camera
from avatar_core.cuda.raster import homogeneous_pixels, interpolate, rasterise
from avatar_core.data.capture import write_atomically
from avatar_core.data.nerf_blendshape import COEFFICIENTS, LANDMARKS
from avatar_core.frame import linear_to_srgb, srgb_to_linear

from .character import Character
from .surface import triangles

_SUBPIXELS = 3  # a side
_DISTANCE, _FOCAL = 0.44, 1.35  # metres, and picture widths
_TURN = np.array([9.0, 26.0, 5.0])  # degrees: largest pitch, yaw and roll of the camera about the head
_BUMP = (5, 14)  # frames that an expression rises and falls in
_AT_ONCE = 3.5  # expressions, on average
PARSED_HEAD, _NECK, _TORSO, _NOTHING = (0, 0, 255), (0, 255, 0), (255, 0, 0), (255, 255, 255)
_SKY = (0.35, 1.0)  # light from below and from above
_JPEG = 97
_PAIRS = ("eyeBlink", "eyeSquint", "eyeLookDown", "eyeLookUp", "eyeWide")  # whose sides move together


@dataclass(frozen=True)
class Film:
    """coefficients: [T, 46]. cameras: one a frame, in the head's frame."""

    coefficients: np.ndarray
    cameras: tuple[Camera, ...]


def head_film(frames: int, size: int, seed: int) -> Film:
    """Expressions come and go one by one and together; the camera sways about the head."""
    rng = np.random.default_rng(seed)
    time = np.arange(frames) / 25
    values = np.zeros((frames, COEFFICIENTS))
    bumps = round(_AT_ONCE * frames / np.mean(_BUMP)) + COEFFICIENTS
    for number in range(bumps):
        width, middle = rng.uniform(*_BUMP), rng.uniform(0, frames)
        bump = np.cos(np.clip((np.arange(frames) - middle) / width, -1, 1) * np.pi / 2) ** 2
        index = number % COEFFICIENTS
        values[:, index] = np.maximum(values[:, index], rng.uniform(0.5, 1.0) * bump)
    for index, name in enumerate(EXPRESSIONS):
        other = name.removesuffix("Left") + "Right"
        if name.endswith("Left") and name.startswith(_PAIRS):
            values[:, EXPRESSIONS.index(other)] = values[:, index]
    speeds, phases = rng.uniform(1.0, 4.0, (3, 3)), rng.uniform(0, 2 * np.pi, (3, 3))  # radians a second
    sway = np.sin(speeds[:, None] * time[:, None] + phases[:, None]).mean(0) / 0.7  # [T, 3]
    slide = 0.008 * np.sin(speeds[1] * time[:, None] + phases[0])
    cameras = tuple(head_camera(np.radians(one * _TURN), place, size) for one, place in zip(sway, slide, strict=True))
    return Film(values, cameras)


class HeadStudio:
    """A character that is cut off below the shoulders and moved so that its head is at the origin."""

    def __init__(self, character: Character) -> None:
        self.body = character.body
        head = self.body.joint_names.index("head")
        neck = self.body.joint_names.index("neck")
        of_head = self.body.weights[:, head] > 0.5
        low, high = self.body.vertices[of_head].min(0), self.body.vertices[of_head].max(0)
        self.centre = (low + high) / 2
        self.parts = [_Textured.of_body(character)]
        self.parts += [_Textured.of_part(part.surface, part.texture) for part in character.clothes]
        self.labels = torch.cat([_labels(part.weights, part.faces, head, neck) for part in self.parts])

    def frame(self, coefficients: np.ndarray, camera: Camera, background: np.ndarray) -> dict[str, np.ndarray]:
        """The pictures of a frame [H, W, 3] uint8: 'whole', 'head', 'parsing'. background: [H, W, 3] in [0, 1]."""
        points, normals = self.corners(coefficients)
        faces = torch.arange(len(points)).view(-1, 3)
        fine = camera.scaled(_SUBPIXELS)
        raster = rasterise(homogeneous_pixels(points, fine), faces, fine.height, fine.width)
        colour = self.colours(normals, raster.face, raster.bary)
        label = torch.where(raster.face >= 0, self.labels[raster.face], 3)
        linear = torch.as_tensor(srgb_to_linear(background))
        whole, head = _blocks(colour * (label < 3)[..., None]), _blocks(colour * (label == 0)[..., None])
        shares = torch.stack([_blocks((label == kind).float()[..., None])[..., 0] for kind in range(4)])
        colours = np.array([PARSED_HEAD, _NECK, _TORSO, _NOTHING], np.uint8)
        return {
            "whole": display(whole + shares[3][..., None] * linear),
            "head": display(head + (1 - shares[0])[..., None] * linear),
            "parsing": colours[shares.argmax(0).numpy()],
        }

    def corners(self, coefficients: np.ndarray) -> tuple[Tensor, Tensor]:
        """Places, metres about the head's middle, and normals of the corners of all faces, [3 F, 3]."""
        shaped = self.body.shaped(None, body_expression(coefficients, self.body.expression_names))
        corners, normals = zip(*(part.corners(shaped if part is self.parts[0] else None) for part in self.parts))
        points = torch.cat(corners).flatten(0, 1) - torch.as_tensor(self.centre, dtype=torch.float32)
        return points, torch.cat(normals).flatten(0, 1)

    def colours(self, normals: Tensor, face: Tensor, bary: Tensor) -> Tensor:
        """Scene-linear [H, W, 3] of lit faces. normals: of `corners`. face, bary: a raster's."""
        faces = torch.arange(len(normals)).view(-1, 3)
        up = interpolate(normals, faces, face, bary)
        uv = interpolate(torch.cat([part.corner_uv for part in self.parts]).flatten(0, 1), faces, face, bary)
        light = _SKY[0] + (_SKY[1] - _SKY[0]) * (normalize(up, dim=2)[..., 1] + 1) / 2
        return self._texture(face, uv) * light[..., None]

    def landmarks(self, coefficients: np.ndarray, camera: Camera) -> np.ndarray:
        """[478, 2] pixels: those of eyes and mouth in their places of MediaPipe's face mesh, others over the face."""
        shaped = self.body.shaped(None, body_expression(coefficients, self.body.expression_names)) - self.centre
        rest = self.body.vertices - self.centre
        face = np.flatnonzero((np.abs(rest[:, 1] + 0.02) < 0.075) & (rest[:, 2] > 0.05) & (np.abs(rest[:, 0]) < 0.06))
        index = face[np.linspace(0, len(face) - 1, LANDMARKS).astype(int)]
        for number, vertex in self._named(face).items():
            index[number] = vertex
        return camera.project(shaped[index])[0]

    def _named(self, face: np.ndarray) -> dict[int, int]:
        """Vertices by number: where an expression moves the face the most."""

        def moved(name: str, axis: int, sign: float) -> int:
            offsets = self.body.expressions[face, :, self.body.expression_names.index(name)]
            edge = face[np.linalg.norm(offsets, axis=1) > 0.5 * np.linalg.norm(offsets, axis=1).max()]
            return int(edge[np.argmax(sign * self.body.vertices[edge, axis])])

        return {
            **{57: moved("mouthSmileRight", 0, -1), 287: moved("mouthSmileLeft", 0, 1)},
            **{0: moved("mouthShrugUpper", 1, 1), 17: moved("mouthShrugLower", 1, -1)},
            **{130: moved("eyeBlinkRight", 0, -1), 359: moved("eyeBlinkLeft", 0, 1)},
            **{27: moved("eyeBlinkRight", 1, 1), 257: moved("eyeBlinkLeft", 1, 1)},
            **{23: moved("eyeBlinkRight", 1, -1), 253: moved("eyeBlinkLeft", 1, -1)},
        }

    def _texture(self, face: Tensor, uv: Tensor) -> Tensor:
        """Scene-linear colours [H, W, 3]."""
        found, begin = torch.zeros(*face.shape, 3), 0
        for part in self.parts:
            inside = (face >= begin) & (face < begin + len(part.faces))
            place = uv[inside] * torch.tensor([2.0, -2.0]) + torch.tensor([-1.0, 1.0])
            sampled = grid_sample(part.texture[None], place[None, None], align_corners=False, padding_mode="border")
            found[inside] = sampled[0, :, 0].T
            begin += len(part.faces)
        return found


def write_film(folder: Path, character: Character, film: Film, held_out: int) -> None:
    """Writes the layout; pictures that are there already stay. held_out: frames at the end without which ranges are."""
    studio, size = HeadStudio(character), film.cameras[0].width
    for room in ("head_imgs", "ori_imgs", "parsing"):
        (folder / room).mkdir(parents=True, exist_ok=True)
    background = folder / "bc.jpg"
    if not background.exists():
        Image.fromarray(np.round(_background(size) * 255).astype(np.uint8)).save(background, quality=_JPEG)
    plate = np.asarray(Image.open(background)) / np.float32(255)
    entries = []
    for number, (coefficients, camera) in enumerate(zip(film.coefficients, film.cameras, strict=True)):
        places = {
            "head": folder / "head_imgs" / f"{number}.jpg",
            "whole": folder / "ori_imgs" / f"{number}.jpg",
            "parsing": folder / "parsing" / f"{number}.png",
        }
        if not all(path.exists() for path in places.values()):
            for name, image in studio.frame(coefficients, camera, plate).items():
                Image.fromarray(image).save(places[name], quality=_JPEG)
        np.savetxt(folder / "ori_imgs" / f"{number}.lms", studio.landmarks(coefficients, camera), "%f")
        pose = np.linalg.inv(camera.world_to_camera) @ np.diag([1, -1, -1, 1])  # OpenGL's axes
        entries.append({"img_id": number, "transform_matrix": pose.tolist(), "exp_ori": coefficients.tolist()})
    for kind, values in (("max", film.coefficients[:-held_out].max(0)), ("min", film.coefficients[:-held_out].min(0))):
        np.savetxt(folder / f"{kind}_{COEFFICIENTS}.txt", values)
    k = film.cameras[0].K
    index = {"w": size, "h": size, "fx": k[0, 0], "fy": k[1, 1], "cx": k[0, 2] - 0.5, "cy": k[1, 2] - 0.5}
    write_atomically(folder / "transforms.json", json.dumps({**index, "frames": entries}).encode())


def body_expression(coefficients: np.ndarray, names: tuple[str, ...]) -> np.ndarray:
    """The body's expressions [E] that give coefficients [46]: both sides of those that FaceWarehouse merges alike."""
    values = {key: value for name, value in zip(EXPRESSIONS, coefficients, strict=True) for key in SHAPE_KEYS[name]}
    return np.array([values.get(name, 0.0) for name in names], np.float32)


@dataclass(frozen=True)
class _Textured:
    """A mesh of corners. vertices: [V, 3]. faces: [F, 3]. corner_uv: [F, 3, 2]. texture: [3, S, S] linear."""

    vertices: Tensor
    faces: Tensor
    corner_uv: Tensor
    texture: Tensor
    weights: np.ndarray

    @classmethod
    def of_body(cls, character: Character) -> _Textured:
        body = character.body
        uv = torch.as_tensor(body.uv)[torch.as_tensor(body.face_uv).long()]
        return cls._of(body.vertices, body.faces, uv, character.skin, body.weights)

    @classmethod
    def of_part(cls, surface, texture: np.ndarray) -> _Textured:  # type: ignore[no-untyped-def]
        faces, uv = triangles(surface.quads, surface.corner_uv)
        return cls._of(surface.vertices, faces, torch.as_tensor(uv).float(), texture, surface.weights)

    @classmethod
    def _of(
        cls, vertices: np.ndarray, faces: np.ndarray, uv: Tensor, texture: np.ndarray, weights: np.ndarray
    ) -> _Textured:
        linear = torch.as_tensor(srgb_to_linear(texture).astype(np.float32)).permute(2, 0, 1)
        return cls(torch.as_tensor(vertices).float(), torch.as_tensor(faces).long(), uv, linear, np.asarray(weights))

    def corners(self, vertices: np.ndarray | None) -> tuple[Tensor, Tensor]:
        """Places and normals [F, 3, 3]. vertices: [V, 3], if not at rest."""
        points = self.vertices if vertices is None else torch.as_tensor(vertices).float()
        corners = points[self.faces]
        flat = torch.linalg.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
        normals = torch.zeros_like(points).index_add(0, self.faces.flatten(), flat.repeat_interleave(3, 0))
        return corners, normals[self.faces]


def _labels(weights: np.ndarray, faces: Tensor, head: int, neck: int) -> Tensor:
    """[F]: 0 head, 1 neck, 2 anything else."""
    share = torch.as_tensor(weights)[faces].mean(1)
    of_neck = torch.where(share[:, neck] > 0.5, 1, 2)
    return torch.where(share[:, head] > 0.5, 0, of_neck)


def head_camera(turn: np.ndarray, slide: np.ndarray, size: int) -> Camera:
    """Before the head, turned about it by `turn` (pitch, yaw, roll), and beside its middle by `slide` metres."""
    pitch, yaw, roll = turn
    place = _DISTANCE * np.array([np.sin(yaw) * np.cos(pitch), np.sin(pitch), np.cos(yaw) * np.cos(pitch)])
    up = (float(np.sin(roll)), float(np.cos(roll)), 0.0)
    aim = slide * (1, 1, 0)
    return Camera.look_at(place + slide, aim, 2 * float(np.arctan(0.5 / _FOCAL)), size, size, up)


def _background(size: int) -> np.ndarray:
    """[size, size, 3] display sRGB: a wall."""
    y, x = np.mgrid[0:size, 0:size] / size
    wave = 0.03 * np.sin(14 * x + 3 * np.sin(5 * y))
    return np.stack([0.42 + 0.2 * x + wave, 0.5 + 0.15 * y + wave, 0.58 - 0.1 * x + wave], -1)


def _blocks(image: Tensor) -> Tensor:
    """Means over subpixels: [H, W, C]."""
    height, width = (side // _SUBPIXELS for side in image.shape[:2])
    return image.view(height, _SUBPIXELS, width, _SUBPIXELS, -1).mean((1, 3))


def display(linear: Tensor) -> np.ndarray:
    """uint8 display sRGB of linear values of any shape, clipped to [0, 1]."""
    return np.round(np.clip(linear_to_srgb(linear.numpy()), 0, 1) * 255).astype(np.uint8)
