"""A scan becomes what gDNA trains on: points inside and outside, surface points, pictures of normals and colours."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from avatar_core.body import Body
from avatar_core.camera import Camera
from avatar_core.controls import Controls
from avatar_core.cuda.closest_point import TriangleBVH
from avatar_core.cuda.raster import homogeneous_pixels, interpolate, rasterise
from avatar_core.data.capture import Capture, CaptureError, CaptureFrame
from avatar_core.data.obj import ScanError, TexturedMesh, check_watertight, read_obj
from avatar_core.data.scans import ScanCapture, views
from avatar_core.data.smpl_parameters import SmplParameters, read_smpl_parameters
from avatar_core.methods.gdna.body import check_body
from avatar_core.methods.gdna.posing import vertex_normals

from .inside import inside
from .people import PARAMETERS, SCANS

_NEAR = 0.01  # metres, standard deviation of points by the surface
_AROUND = 0.25  # metres around the scan where the other points lie
_SUPER = 2  # rasterised pixels of a pixel, a side
_FPS = 30.0  # scans are no film; a capture needs a number


def prepare(data: Path, body: Body, output: Path, points: int, size: int, licence: str) -> ScanCapture:
    """All scans of a folder in THuman2.0's layout; goes on where it stopped. points: of each kind and scan; size:
    pixels a side. Raises AvatarError."""
    check_body(body)
    names = sorted(folder.name for folder in (data / SCANS).glob("*") if (folder / f"{folder.name}.obj").is_file())
    if not names:
        raise ScanError(f"{data / SCANS} has no scans such as 0000/0000.obj")
    parameters = [read_smpl_parameters(data / PARAMETERS / f"{name}_smpl.pkl") for name in names]
    frames = [
        CaptureFrame(number, Controls(pose=found.pose, betas=_padded(found.betas, body)), "train")
        for number, found in enumerate(parameters)
    ]
    index = Capture.create(output, data.resolve().name, licence, _FPS, views(size), frames, body)
    made = ScanCapture(**{name: getattr(index, name) for name in Capture.__dataclass_fields__})
    for number, (name, found) in enumerate(zip(names, parameters)):
        if not made.samples_path(number).is_file():
            path = data / SCANS / name / f"{name}.obj"
            _prepare(read_obj(path), found, made, number, points, str(path))
            print(f"{name}: done", flush=True)
    return ScanCapture.open(output)


def sample(mesh: TexturedMesh, vertices: Tensor, points: int, seed: int, where: str) -> dict[str, np.ndarray]:
    """Arrays of data.scans.Samples. vertices: [V, 3] of the mesh in SMPL's metres. Raises ScanError that names `where`
    for a mesh that has no inside."""
    check_watertight(mesh, where)
    faces, rng = torch.as_tensor(mesh.faces), np.random.default_rng(seed)
    tree = TriangleBVH(vertices, faces)
    corners = vertices[faces].numpy()
    across = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    if (corners[:, 0] * across).sum() < 0:
        raise ScanError(f"{where} is inside out: turn its faces round")
    face, bary = _scatter(across, 2 * points, rng)
    places = (corners[face] * bary[..., None]).sum(1)
    near = places[:points] + rng.normal(0, _NEAR, (points, 3))
    space = rng.uniform(vertices.amin(0) - _AROUND, vertices.amax(0) + _AROUND, (points, 3))
    arrays: dict[str, np.ndarray] = {}
    for name, cloud in (("near", near), ("space", space)):
        arrays[name] = cloud.astype(np.float32)
        arrays[f"{name}_inside"] = inside(tree, torch.as_tensor(arrays[name])).numpy()
    arrays["surface"] = places[points:].astype(np.float32)
    unit = across / np.maximum(np.linalg.norm(across, axis=1, keepdims=True), 1e-20)
    arrays["normals"] = unit[face[points:]].astype(np.float32)
    if mesh.texture is not None:
        arrays["colours"] = mesh.colours(face[points:], bary[points:])
    return arrays


def _prepare(
    mesh: TexturedMesh, found: SmplParameters, made: ScanCapture, number: int, points: int, where: str
) -> None:
    vertices, faces = torch.as_tensor(found.normalised(mesh.vertices)), torch.as_tensor(mesh.faces)
    arrays = sample(mesh, vertices, points, number, where)
    smooth = vertex_normals(vertices, faces)
    for view in made.cameras:
        normals, colours = _pictures(vertices, faces, smooth, mesh, view.camera)
        _write_picture(made.folder / "images" / view.name / f"{number:06d}.png", normals)
        if colours is not None:
            _write_picture(made.folder / "colours" / view.name / f"{number:06d}.png", colours)
    path = made.samples_path(number)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_suffix(".part.npz")
        np.savez(temporary, **arrays)  # type: ignore[arg-type]
        temporary.replace(path)
    except OSError as error:
        raise CaptureError(f"{path} cannot be written: {error.strerror or error}") from error


def _scatter(across: np.ndarray, count: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Faces [N] by area and barycentrics [N, 3]. across: [F, 3], twice the area long."""
    area = np.linalg.norm(across, axis=1)
    face = rng.choice(len(area), count, p=area / area.sum())
    root, share = np.sqrt(rng.random(count)), rng.random(count)
    return face, np.stack([1 - root, root * (1 - share), root * share], 1)


def _pictures(
    vertices: Tensor, faces: Tensor, normals: Tensor, mesh: TexturedMesh, camera: Camera
) -> tuple[np.ndarray, np.ndarray | None]:
    """[H, W, 4] uint8 of normals and, with a texture, of colours."""
    large = camera.scaled(_SUPER)
    seen = rasterise(homogeneous_pixels(vertices, large), faces, large.height, large.width)
    full = (seen.face >= 0).numpy()
    unit = torch.nn.functional.normalize(interpolate(normals, faces, seen.face, seen.bary), dim=2).numpy()
    pictures = [_shrunk((unit + 1) / 2, full)]
    if mesh.texture is not None:
        colours = np.zeros((*full.shape, 3))
        colours[full] = mesh.colours(seen.face.numpy()[full], seen.bary.numpy()[full])
        pictures.append(_shrunk(colours, full))
    return pictures[0], pictures[1] if len(pictures) > 1 else None


def _shrunk(values: np.ndarray, full: np.ndarray) -> np.ndarray:
    """[H, W, 4] uint8, straight alpha; values: [2 H, 2 W, 3] where full [2 H, 2 W]."""
    planes = np.concatenate([values * full[..., None], full[..., None]], 2)
    height, width = full.shape[0] // _SUPER, full.shape[1] // _SUPER
    mean = planes.reshape(height, _SUPER, width, _SUPER, 4).mean((1, 3))
    mean[..., :3] /= np.maximum(mean[..., 3:], 1e-6)
    return np.round(mean.clip(0, 1) * 255).astype(np.uint8)


def _write_picture(path: Path, picture: np.ndarray) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(picture).save(path)
    except OSError as error:
        raise CaptureError(f"{path} cannot be written: {error.strerror or error}") from error


def _padded(betas: np.ndarray, body: Body) -> np.ndarray:
    return np.pad(betas, (0, body.shapedirs.shape[2] - len(betas)))
