"""Scans of people who never were: the free body in the studio's clothes, posed, as one closed mesh with a texture map.

The layout is that of THuman2.0 with the SMPL parameters that gDNA's authors give:

FOLDER/THuman2.0_Release/0000/0000.obj, material0.mtl, material0.jpeg
FOLDER/THuman2.0_smpl/0000_smpl.pkl
"""

from __future__ import annotations

import pickle
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from scipy.ndimage import label

from avatar_core.body import Body
from avatar_core.body.kinematics import relative_transforms
from avatar_core.body.pose_offsets import pose_offsets
from avatar_core.cuda.closest_point import TriangleBVH
from avatar_core.cuda.skin import skin_points
from avatar_core.data.obj import ScanError, TexturedMesh, write_obj

from ..studio.character import default_character
from ..studio.motion import sample_poses
from ..studio.texture import bake
from .outfit import Soup, dress

SCANS, PARAMETERS = "THuman2.0_Release", "THuman2.0_smpl"
_CLIPS = ("walk", "wave", "twist_bend")
_REACH = 2.0  # cells around all surfaces that count as inside: gaps of twice as much are closed
_LEFT = 0.1  # share of that reach that stays between a scan and its clothes
_TEXELS = 6  # a side of the square that two triangles share
_BETAS = 0.8  # standard deviation


@dataclass(frozen=True, eq=False)
class Dressed:
    """A closed mesh around a soup, at rest: vertices [V, 3], faces [F, 3], colours [V, 3], and the place of each vertex
    in the soup: faces [V] with barycentrics [V, 3], and how far it lies from there [V, 3]."""

    soup: Soup
    faces: np.ndarray
    colours: np.ndarray
    face: np.ndarray
    bary: np.ndarray
    away: np.ndarray

    def of(self, values: np.ndarray) -> np.ndarray:
        """Values [V', ...] of the soup's vertices at those of the mesh."""
        corners = values[self.soup.faces[self.face]]
        return np.einsum("vk,vk...->v...", self.bary, corners)


def write_scans(folder: Path, count: int, cell: float, seed: int) -> None:
    """`count` people in as many poses; cell: metres between vertices. Raises ScanError."""
    character = default_character(512)
    poses = sample_poses(character.body, _CLIPS, count, seed)
    for number in range(count):
        rng = np.random.default_rng((seed, number))
        name = f"{number:04d}"
        dressed = wrap(dress(character, rng), cell)
        betas = rng.normal(0, _BETAS, 10).astype(np.float32)
        pose = poses.pose[number]
        vertices = posed(dressed, character.body, pose, betas)
        scale, transl = 1 + 0.05 * rng.random(), rng.normal(0, 0.1, 3)
        uv, texture = _atlas(dressed)
        mesh = TexturedMesh((vertices * scale + transl).astype(np.float32), dressed.faces, uv, texture)
        write_obj(folder / SCANS / name, name, mesh)
        values = {
            "global_orient": pose[:1].reshape(1, 3),
            "body_pose": pose[1:].reshape(1, 69),
            "betas": betas[None],
            "transl": transl[None],
            "scale": np.array([scale]),
        }
        path = folder / PARAMETERS / f"{name}_smpl.pkl"
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(pickle.dumps(values, protocol=2))
        except OSError as error:
            raise ScanError(f"{path} cannot be written: {error.strerror or error}") from error


def wrap(soup: Soup, cell: float) -> Dressed:
    """A closed mesh whose vertices lie on the outermost surfaces of the soup. Raises ScanError without scikit-image."""
    try:
        from skimage.measure import marching_cubes
    except ImportError as error:
        raise ScanError("scans are made with scikit-image: pip install 'avatar-core[mesh]'") from error
    tree = TriangleBVH(torch.as_tensor(soup.vertices).float(), torch.as_tensor(soup.faces))
    reach = _REACH * cell
    low = soup.vertices.min(0) - 4 * cell
    sides = np.ceil((soup.vertices.max(0) + 4 * cell - low) / cell).astype(int)
    grid = np.stack(np.meshgrid(*(np.arange(side) for side in sides), indexing="ij"), -1).reshape(-1, 3)
    points = torch.as_tensor(low + grid * cell).float()
    distance = tree.closest(points, reach=2 * reach)[0].sqrt().clamp(max=2 * reach).numpy().reshape(sides)
    outside, _ = label(distance > reach)
    field = np.where((outside == outside[0, 0, 0]) | (distance <= reach), distance - reach, -reach)
    found, faces, _, _ = marching_cubes(field, 0.0, gradient_direction="ascent")
    vertices = low + found * cell
    _, *nearest = tree.closest(torch.as_tensor(vertices).float())
    face, bary = nearest[0].numpy(), nearest[1].numpy().astype(np.float64)
    place = np.einsum("vk,vkc->vc", bary, soup.vertices[soup.faces[face]])
    colours = np.einsum("vk,vkc->vc", bary, soup.corner_colours[face])
    return Dressed(soup, _outwards(vertices, faces), colours, face, bary, _LEFT * (vertices - place))


def posed(dressed: Dressed, body: Body, pose: np.ndarray, betas: np.ndarray) -> np.ndarray:
    """[V, 3] metres: clothes follow the body's shape and pose offsets where they lie, and fold."""
    soup, count = dressed.soup, len(body.vertices)
    offsets = body.shaped(betas) - body.vertices
    if body.posedirs is not None:
        offsets = offsets + pose_offsets(torch.as_tensor(pose), torch.as_tensor(body.posedirs)).numpy()
    tree = TriangleBVH(torch.as_tensor(body.vertices), torch.as_tensor(body.faces))
    _, face, bary = tree.closest(torch.as_tensor(soup.vertices[count:]).float())
    worn = np.einsum("vk,vkc->vc", bary.numpy(), offsets[body.faces[face.numpy()]])
    rest = soup.vertices + np.concatenate([offsets, worn]) + soup.folds(pose, body.joint_names)
    vertices = (dressed.of(rest) + dressed.away).astype(np.float32)
    weights = dressed.of(soup.weights.astype(np.float64)).astype(np.float32)
    transforms = relative_transforms(torch.as_tensor(pose), torch.as_tensor(body.joints(betas)), body.parents)
    return skin_points(torch.as_tensor(vertices), torch.as_tensor(weights), transforms).numpy()


def _outwards(vertices: np.ndarray, faces: np.ndarray) -> np.ndarray:
    """Faces counter-clockwise from outside: the volume is positive."""
    a, b, c = vertices[faces].transpose(1, 0, 2)
    volume = (a * np.cross(b, c)).sum()
    return (faces if volume > 0 else faces[:, ::-1]).astype(np.int64)


def _atlas(dressed: Dressed) -> tuple[np.ndarray, np.ndarray]:
    """Texture coordinates [F, 3, 2] and a map: every two triangles share a square of their own."""
    count = len(dressed.faces)
    side = int(np.ceil(np.sqrt(-(-count // 2))))
    square = np.arange(count) // 2
    origin = np.stack([square % side, square // side], 1)[:, None] * _TEXELS
    lower = np.array([[0.5, 0.5], [_TEXELS - 2, 0.5], [0.5, _TEXELS - 2]])
    corners = origin + np.where((np.arange(count) % 2 == 0)[:, None, None], lower, _TEXELS - lower)
    uv = (corners / (side * _TEXELS)).astype(np.float32)
    image = bake(uv.astype(np.float64), dressed.colours[dressed.faces], side * _TEXELS)
    return uv, np.round(image.clip(0, 1) * 255).astype(np.uint8)
