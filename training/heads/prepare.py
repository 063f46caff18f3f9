"""`avatar prepare-head`: what NPVA's released code computes from a Multiface folder, without Metashape.

Depth and masks are the tracked mesh, rasterised: right on skin, and nothing where the mesh is none (inside of the
mouth, hair that it does not follow). Depth maps of other software can be put in their place, in the same format.
Position maps are one product with a sparse matrix, which all frames share.
"""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from pathlib import Path

import numpy as np
import torch
from scipy.ndimage import distance_transform_edt
from scipy.sparse import csr_matrix
from tqdm import tqdm

from avatar_core.cuda.raster import rasterise
from avatar_core.data.multiface import Identity, Moment, MultifaceError, Topology, read_array, write_depth
from avatar_core.methods.npva.surface import SIDE


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("folder", type=Path, help="of an identity in Multiface's layout; gendir/ is written into it")
    parser.add_argument("--frames", type=Path, help="list of frames, instead of the folder's frame_list.txt")


def run(arguments: Namespace) -> int:
    identity = Identity.open(arguments.folder, arguments.frames)
    try:
        deviation = prepare(identity)
    except OSError as error:
        raise MultifaceError(f"{arguments.folder} cannot be written: {error.strerror or error}") from error
    cameras, moments = len(identity.cameras), len(identity.moments)
    print(
        f"{arguments.folder / 'gendir'}: {moments} frames, {cameras} cameras, positions deviate by {deviation:.2f} mm"
    )
    return 0


def prepare(identity: Identity) -> float:
    """Writes gendir/; depth maps and masks that are there already stay. Returns the deviation of position maps, mm.
    Raises MultifaceError."""
    matrix, generated = position_matrix(identity.topology), identity.folder / "gendir"
    total = np.zeros((SIDE, SIDE, 3))
    for moment in tqdm(identity.moments, unit="frame"):
        vertices = identity.vertices(moment)
        positions = (matrix @ vertices).reshape(SIDE, SIDE, 3)
        _save(identity.map_path(moment), positions)
        total += positions
        for camera in identity.cameras:
            _rasterise(identity, moment, camera, vertices)
    mean = total / len(identity.moments)
    square = 0.0
    for moment in identity.moments:
        square += float(np.square(read_array(identity.map_path(moment), mean.shape, "f") - mean).mean())
    variance = square / len(identity.moments)
    _save(generated / "posMean.npy", mean.transpose(2, 0, 1))
    (generated / "posVar.txt").write_text(f"{variance:.12g}\n", encoding="utf-8")
    return variance**0.5


def position_matrix(topology: Topology) -> csr_matrix:
    """[SIDE * SIDE, V]: row SIDE * iu + iv has the weights of the surface at uv = (iu, iv) / (SIDE - 1); texels that no
    triangle covers take those of the nearest that one does. Where triangles overlap, the first one counts."""
    step = SIDE - 1
    corners = torch.as_tensor(topology.corner_uv[..., ::-1].copy()) * step + 0.5  # columns: v, rows: u
    covering = 0.5 + (corners - 0.5) * (1 + 1e-6)  # texels on the far border are in their triangles
    positions = torch.cat([covering, torch.ones_like(corners[..., :1])], -1).flatten(0, 1)
    found = rasterise(positions, torch.arange(len(positions)).view(-1, 3), SIDE, SIDE)
    row, column = distance_transform_edt((found.face < 0).numpy(), return_indices=True)[1]
    face, bary = found.face[row, column].flatten().numpy(), found.bary[row, column].view(-1, 3).double().numpy()
    rows = np.arange(SIDE * SIDE).repeat(3)
    columns = topology.faces[face].flatten()
    return csr_matrix((bary.flatten(), (rows, columns)), (SIDE * SIDE, topology.count))


def _rasterise(identity: Identity, moment: Moment, camera: str, vertices: np.ndarray) -> None:
    """Depth in metres and coverage, of one picture."""
    depth_path, mask_path = identity.depth_path(moment, camera), identity.mask_path(moment, camera)
    if depth_path.is_file() and mask_path.is_file():
        return
    view, transform = identity.viewpoints[camera], identity.transform(moment)
    local = (vertices @ transform[:, :3].T + transform[:, 3]) @ view.view[:, :3].T + view.view[:, 3]
    width, height = identity.size
    pixels = torch.as_tensor(local @ view.K.T).float()
    found = rasterise(pixels, torch.as_tensor(identity.topology.faces), height, width)
    mask = (found.face >= 0).numpy()
    if not mask.any():
        raise MultifaceError(
            f"{identity.folder / 'KRT'}: camera '{camera}' sees nothing of the head in {moment}, so that its "
            "mask would be empty; correct it, or take its pictures out"
        )
    if not depth_path.is_file():
        depth_path.parent.mkdir(parents=True, exist_ok=True)
        write_depth(depth_path, np.where(mask, found.depth.numpy() / 1000, 0))
    if not mask_path.is_file():
        _save(mask_path, mask)


def _save(path: Path, values: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    np.save(path, values)
