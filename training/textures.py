"""`avatar textures CAPTURE`: texture, confidence and normal maps of the body for every frame, from captured pictures.

Neural Actor, section 3.3. Each texel is a point of the posed surface. The training cameras that see it (its projection
is the nearest surface and lies in the mask) are weighted by how frontally they do; of the three best the median colour
is kept, and the cosine of the best as the confidence. Texels that no camera sees get the colour of the nearest that one
sees, also beyond the borders of the charts, so that looking a texture up near a seam finds no hole.
"""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from pathlib import Path

import numpy as np
import torch
from scipy.ndimage import distance_transform_edt
from torch import Tensor
from torch.nn.functional import grid_sample, normalize
from tqdm import tqdm

from avatar_core.body import Body
from avatar_core.body.kinematics import axis_angle_to_matrix, relative_transforms
from avatar_core.camera import Camera
from avatar_core.controls import Controls
from avatar_core.cuda.raster import homogeneous_pixels, rasterise
from avatar_core.cuda.skin import skin_points
from avatar_core.data.capture import Capture
from avatar_core.errors import AvatarError
from avatar_core.frame import write_image
from avatar_core.render.normals import vertex_normals
from avatar_core.render.texels import Texels

_VIEWS = 3  # of each texel that are kept
_FRONTAL = 0.2  # cosine below which a camera sees too little of a texel
_SAME = 0.02  # metres between a texel's depth and the nearest surface's
_FULL = 0.98  # alpha


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("capture", type=Path, help="folder of the capture; its maps go to folders in it")
    parser.add_argument("--size", type=int, default=512, help="texels a side (default 512)")
    parser.add_argument(
        "--held-out", action="store_true", help="maps of held-out frames too, which only 'avatar evaluate' looks at"
    )


def run(arguments: Namespace) -> int:
    if not 16 <= arguments.size <= 4096:
        raise AvatarError(f"--size must be 16 to 4096, got {arguments.size}")
    capture = Capture.open(arguments.capture)
    cameras = [i for i, camera in enumerate(capture.cameras) if camera.split == "train"]
    texels = Texels.of(capture.body, arguments.size)
    for name in ("textures", "confidence", "normals"):
        (capture.folder / name).mkdir(exist_ok=True)
    for frame in tqdm(range(len(capture.frames)), unit="frame", desc="textures"):
        controls = capture.frames[frame].controls
        normals = normal_map(capture.body, controls, texels)
        write_image(capture.map_path("normals", frame), np.round((normals + 1) * 127.5).astype(np.uint8))
        wanted = arguments.held_out or capture.frames[frame].split == "train"
        if wanted and not capture.map_path("textures", frame).exists():  # one of another program stays
            texture, confidence = texture_map(capture, frame, cameras, texels)
            write_image(capture.map_path("confidence", frame), confidence)
            write_image(capture.map_path("textures", frame), texture)
    return 0


def posed_surface(body: Body, controls: Controls) -> tuple[Tensor, Tensor]:
    """Vertices [V, 3] metres and normals [V, 3], world."""
    joints = torch.as_tensor(body.joints(controls.betas))
    pose, transl = torch.as_tensor(controls.pose), torch.as_tensor(controls.transl)
    rest = torch.as_tensor(body.shaped(controls.betas, controls.expression))
    vertices = skin_points(rest, torch.as_tensor(body.weights), relative_transforms(pose, joints, body.parents, transl))
    return vertices, vertex_normals(vertices, torch.as_tensor(body.faces).long())


def normal_map(body: Body, controls: Controls, texels: Texels) -> np.ndarray:
    """[H, W, 3] unit normals in the root's frame, so that turning the person changes nothing; 0 beside the body."""
    _, normals = posed_surface(body, controls)
    turned = normals @ axis_angle_to_matrix(torch.as_tensor(controls.pose[0]))
    return normalize(texels.spread(turned), dim=2).numpy()


def texture_map(capture: Capture, frame: int, cameras: list[int], texels: Texels) -> tuple[np.ndarray, np.ndarray]:
    """What `cameras` (indices) see: colours [H, W, 3] uint8, display sRGB, and confidence [H, W] uint8, the cosine
    between the surface and the most frontal view in 255ths, 0 where none sees it."""
    faces = texels.faces
    vertices, normals = posed_surface(capture.body, capture.frames[frame].controls)
    on_body = texels.mask
    points = texels.spread(vertices)[on_body]
    directions = normalize(texels.spread(normals)[on_body], dim=1)
    seen = [
        _seen(capture.image(index, frame), capture.cameras[index].camera, points, directions, vertices, faces)
        for index in cameras
    ]
    weight = torch.stack([one[1] for one in seen])  # [cameras, texels]
    colour = torch.stack([one[0] for one in seen])  # [cameras, texels, 3]
    best = weight.topk(min(_VIEWS, len(cameras)), 0)
    chosen = colour.gather(0, best.indices[..., None].expand(-1, -1, 3)).masked_fill(
        best.values[..., None] <= 0, torch.nan
    )
    image = np.zeros((*texels.face.shape, 3), np.float32)
    confidence = np.zeros(texels.face.shape, np.float32)
    image[on_body.numpy()] = chosen.nanmedian(0).values.nan_to_num(0.0).numpy()
    confidence[on_body.numpy()] = best.values[0].numpy()
    if not confidence.any():
        raise AvatarError(f"no training camera of {capture.folder} sees the body in frame {frame}; check its poses")
    rows, columns = distance_transform_edt(confidence == 0, return_distances=False, return_indices=True)
    return np.round(image[rows, columns] * 255).astype(np.uint8), np.round(confidence * 255).astype(np.uint8)


def _seen(
    picture: np.ndarray, camera: Camera, points: Tensor, normals: Tensor, vertices: Tensor, faces: Tensor
) -> tuple[Tensor, Tensor]:
    """Colours [N, 3] (display sRGB in [0, 1]) of surface points in one picture, and weights [N], 0 where unseen."""
    height, width = picture.shape[:2]
    pixels, depth = (torch.as_tensor(array, dtype=torch.float32) for array in camera.project(points.numpy()))
    place = torch.stack([pixels[:, 0] / width, pixels[:, 1] / height], 1) * 2 - 1

    def look(plane: Tensor, mode: str) -> Tensor:
        return grid_sample(plane[None], place[None, None], mode, "zeros", align_corners=False)[0, :, 0].T

    nearest = rasterise(homogeneous_pixels(vertices, camera), faces, height, width).depth
    surface = look(torch.where(nearest.isfinite(), nearest, 0)[None], "nearest")[:, 0]
    rgba = look(torch.as_tensor(picture.astype(np.float32) / 255).permute(2, 0, 1), "bilinear")
    towards = normalize(torch.as_tensor(camera.position, dtype=torch.float32) - points, dim=1)
    frontal = (normals * towards).sum(1)
    visible = (depth > 0) & (depth < surface + _SAME) & (rgba[:, 3] > _FULL) & (frontal > _FRONTAL)
    return rgba[:, :3], frontal * visible
