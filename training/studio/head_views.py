"""The studio character's head before several cameras, in Multiface's layout: pictures, a tracked mesh, textures.

The tracked mesh is a grid around the head: in each direction from its middle, the outermost point of skin or hair at
rest, which then moves with its face. So maps cover the whole unit square, go on over the left and right border and are
closed at the top, as Multiface's do. Masks are those of the pictures, which the tracked mesh only comes near to.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from PIL import Image
from scipy.ndimage import distance_transform_edt
from torch import Tensor

from avatar_core.body.expressions import EXPRESSIONS
from avatar_core.cuda.raster import rasterise
from avatar_core.data.multiface import TEXTURE
from avatar_core.methods.npva.surface import triangles

from .character import Character
from .head import PARSED_HEAD, Film, HeadStudio, display, head_camera

_GRID = 64  # vertices a side of the tracked mesh
_LOWEST = np.radians(-70.0)  # elevation of its last row
_AXES = np.array([1.0, -1.0, -1.0])  # y down, facing -z
_MILLIMETRES = 1000.0
_SIDEWAYS, _HEIGHT = 65.0, 14.0  # degrees: the outermost camera, and how far up and down they stand
_LENGTH = 10  # frames of a sequence


def rig(count: int, size: int) -> list[np.ndarray]:
    """World-to-camera matrices [4, 4], metres, of cameras around the face; the first one is the world."""
    front = head_camera(np.zeros(3), np.zeros(3), size).world_to_camera
    angles = [0.0, *np.linspace(-_SIDEWAYS, _SIDEWAYS, count - 1)] if count > 1 else [0.0]
    tilts = [0.0, *(_HEIGHT * (-1) ** k for k in range(count - 1))]
    turns = [np.radians([tilt, angle, 0.0]) for tilt, angle in zip(tilts, angles, strict=True)]
    return [head_camera(turn, np.zeros(3), size).world_to_camera @ np.linalg.inv(front) for turn in turns]


def write_head_views(folder: Path, character: Character, film: Film, cameras: int) -> None:
    """Writes the layout; pictures that are there already stay. The last tenth of the sequences is held out, and of
    three or more cameras one: of five or more, one that stands between others."""
    studio, front = HeadStudio(character), film.cameras[0]
    views = rig(cameras, front.width)
    names = [f"{400000 + number}" for number in range(cameras)]
    mesh, unwrapped = Wrap(studio, _GRID), Wrap(studio, TEXTURE)
    blank = np.zeros((front.height, front.width, 3))
    count = len(film.cameras)
    moments = [(f"E{k // _LENGTH + 1:03d}", f"{3 * k:06d}") for k in range(count)]
    for (sequence, frame), coefficients, camera in zip(moments, film.coefficients, film.cameras, strict=True):
        head = camera.world_to_camera
        points, normals = studio.corners(coefficients)
        _write_mesh(_made(folder / "tracked_mesh" / sequence) / frame, mesh.vertices(points), head)
        texture = _made(folder / f"unwrapped_uv_{TEXTURE}" / sequence / "average") / f"{frame}.png"
        if not texture.exists():
            Image.fromarray(display(studio.colours(normals, unwrapped.face, unwrapped.bary))).save(texture)
        for name, view in zip(names, views, strict=True):
            path = _made(folder / "images" / sequence / name) / f"{frame}.png"
            if not path.exists():
                seen = type(camera)(camera.width, camera.height, camera.K, view @ head)
                shown = studio.frame(coefficients, seen, blank)
                mask = _made(folder / "gendir" / "rast_mask" / sequence / name) / f"{frame}.npy"
                np.save(mask, (shown["parsing"] == PARSED_HEAD).all(-1))
                Image.fromarray(shown["head"]).save(path)
    krt = [_camera_lines(name, front.K, view) for name, view in zip(names, views, strict=True)]
    lines = [" ".join(moment) for moment in moments]
    held = max(1, count // 10) if count <= _LENGTH else _LENGTH * max(1, count // _LENGTH // 10)
    values = [f"{line} {' '.join(f'{c:g}' for c in row)}" for line, row in zip(lines, film.coefficients, strict=True)]
    files = {
        "KRT": krt,
        "frame_list.txt": lines,
        "test_list.txt": lines[-held:],
        "test_cameras.txt": [names[1 + (cameras - 1) // 4]] if cameras > 2 else [],
        "expressions.txt": [" ".join(EXPRESSIONS), *values],
    }
    for name, rows in files.items():
        (folder / name).write_text("\n".join(rows) + "\n", encoding="utf-8")


class Wrap:
    """A square map around a head. face: [S, S], bary: [S, S, 3]: what is outermost in a texel's direction at rest."""

    def __init__(self, studio: HeadStudio, side: int) -> None:
        corners, _ = studio.corners(np.zeros(len(EXPRESSIONS)))
        corners = corners.view(-1, 3, 3)[studio.labels == 0]
        radius = corners.norm(dim=2)
        around = torch.atan2(corners[..., 0], corners[..., 2]) / (2 * torch.pi) + 0.5
        middle = around[:, :1]
        around = around + (middle - around).round()  # triangles over the seam stay small
        up = (np.pi / 2 - torch.asin(corners[..., 1] / radius)) / (np.pi / 2 - _LOWEST)
        shifted = torch.cat([around - 1, around, around + 1])
        x, y = shifted * (side - 1) + 0.5, up.repeat(3, 1) * (side - 1) + 0.5
        nearness = 1 / radius.repeat(3, 1)
        positions = torch.stack([x * nearness, y * nearness, nearness], -1).flatten(0, 1).float()
        found = rasterise(positions, torch.arange(len(positions)).view(-1, 3), side, side)
        ids = (studio.labels == 0).nonzero()[:, 0].repeat(3)
        face = torch.where(found.face >= 0, ids[found.face], -1)
        row, column = distance_transform_edt((face < 0).numpy(), return_indices=True)[1]
        self.face, self.bary = face[row, column], found.bary[row, column]

    def vertices(self, corners: Tensor) -> np.ndarray:
        """[S * S, 3] of corners [3 F, 3]."""
        picked = corners.view(-1, 3, 3)[self.face.flatten()]
        return (picked * self.bary.view(-1, 3, 1)).sum(1).double().numpy()


def _write_mesh(stem: Path, points: np.ndarray, head: np.ndarray) -> None:
    """points: [V, 3] metres about the head's middle. head: [4, 4], to the world."""
    local = points * _AXES * _MILLIMETRES
    transform = np.concatenate([head[:3, :3] * _AXES, head[:3, 3:] * _MILLIMETRES], 1)
    world = local @ transform[:, :3].T + transform[:, 3]
    local.astype("<f4").tofile(stem.with_suffix(".bin"))
    np.savetxt(stem.with_name(f"{stem.name}_transform.txt"), transform, "%.9g")
    v, u = np.mgrid[0:_GRID, 0:_GRID].reshape(2, -1) / (_GRID - 1)
    lines = [f"v {x:.5f} {y:.5f} {z:.5f}" for x, y, z in world.tolist()]
    lines += [f"vt {a:.6f} {1 - b:.6f}" for a, b in zip(u.tolist(), v.tolist(), strict=True)]
    faces = triangles(wrapped=False, capped=False, side=_GRID) + 1
    lines += [f"f {a}/{a} {b}/{b} {c}/{c}" for a, b, c in faces.tolist()]
    stem.with_suffix(".obj").write_text("\n".join(lines) + "\n", encoding="utf-8")


def _camera_lines(name: str, K: np.ndarray, view: np.ndarray) -> str:
    transform = np.concatenate([view[:3, :3], view[:3, 3:] * _MILLIMETRES], 1)
    rows = [*K, np.zeros(5), *transform]
    return "\n".join([name, *(" ".join(f"{value:.12g}" for value in row) for row in rows), ""])


def _made(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    return folder
