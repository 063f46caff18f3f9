# SPDX-License-Identifier: GPL-3.0-or-later
"""The only place where axes are converted: Blender's z-up world and cameras to those of avatar_core.

avatar_core: y up, a body faces +z, metres; cameras look along +z with y down (OpenCV), the centre of the top
left pixel at (0.5, 0.5). Blender: z up, a body faces -y; cameras look along -z, y up, bottom row first.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import bpy
import numpy as np

from .blur import Lens
from .box import Box
from .errors import SceneError

# Columns are where the axes of avatar_core's world lie in Blender's: (x, y, z) -> (x, -z, y).
TO_BLENDER = np.array([[1.0, 0, 0, 0], [0, 0, -1, 0], [0, 1, 0, 0], [0, 0, 0, 1]])
FROM_BLENDER = TO_BLENDER.T
_OPENCV = np.diag([1.0, -1, -1, 1])  # Blender's camera axes to OpenCV's


@dataclass(frozen=True)
class Region:
    """The pixels that are rendered, of `full_width` x `full_height`; x from the left, y from the top."""

    full_width: int
    full_height: int
    x: int
    y: int
    width: int
    height: int

    def corner(self) -> Box:
        """The first pixels of its lowest row."""
        return Box(0, self.height - 1, min(4, self.width), self.height)


def render_region(render: bpy.types.RenderSettings, width: int, height: int) -> Region:
    """The border of a picture of `width` x `height` pixels as Blender rounds it, or all of it."""
    if not render.use_border:
        return Region(width, height, 0, 0, width, height)
    left, right = _border(render.border_min_x, width), _border(render.border_max_x, width)
    bottom, top = _border(render.border_min_y, height), _border(render.border_max_y, height)
    return Region(width, height, left, height - top, max(right - left, 1), max(top - bottom, 1))


def camera_controls(
    camera: bpy.types.Object,
    depsgraph: bpy.types.Depsgraph,
    render: bpy.types.RenderSettings,
    region: Region,
    scale: float = 1.0,
    lens: Lens | None = None,
) -> dict[str, Any]:
    """`avatar_core.camera.Camera` as a dictionary, from an evaluated camera object.

    Includes lens, sensor fit, shift, pixel aspect and the region. scale: of the actor that is rendered; its
    world is the scene made 1 / scale as large, so the frame's depth must be multiplied by scale. lens: the point of
    the lens that sees, None for its middle.
    Raises SceneError for cameras that are not perspective.
    """
    check_camera(camera)
    projection = np.array(
        camera.calc_matrix_camera(
            depsgraph,
            x=region.full_width,
            y=region.full_height,
            scale_x=render.pixel_aspect_x,
            scale_y=render.pixel_aspect_y,
        ),
        np.float64,
    )
    pose = rigid(np.array(camera.matrix_world, np.float64))
    if lens is not None:
        pose[:3, 3] += pose[:3, :2] @ (lens.x, lens.y)
        # Sheared, so that what lies in focus stays where it is; the projection's third column meets -z.
        projection[0, 2] -= projection[0, 0] * lens.x / lens.focus
        projection[1, 2] -= projection[1, 1] * lens.y / lens.focus
    return view_controls(pose, projection, region, scale)


def view_controls(pose: np.ndarray, projection: np.ndarray, region: Region, scale: float = 1.0) -> dict[str, Any]:
    """`avatar_core.camera.Camera` as a dictionary, from OpenGL's matrices.

    pose: [4, 4] rigid, of an eye that looks along -z, in Blender's world. projection: [4, 4], perspective.
    scale: see `camera_controls`.
    """
    half_width, half_height = region.full_width / 2, region.full_height / 2
    intrinsics = np.eye(3)
    intrinsics[0, 0], intrinsics[1, 1] = projection[0, 0] * half_width, projection[1, 1] * half_height
    intrinsics[0, 2] = half_width * (1 - projection[0, 2]) - region.x
    intrinsics[1, 2] = half_height * (1 + projection[1, 2]) - region.y
    view = _OPENCV @ np.linalg.inv(pose) @ TO_BLENDER
    view[:3, 3] /= scale
    return {
        "width": region.width,
        "height": region.height,
        "K": intrinsics.ravel().tolist(),
        "world_to_camera": view.ravel().tolist(),
        "distortion": [],
    }


def scaled_camera(camera: dict[str, Any], share: float) -> dict[str, Any]:
    """The same view in `share` of the pixels along each side, at least one; pixel centres stay at halves."""
    width, height = (max(round(camera[side] * share), 1) for side in ("width", "height"))
    ratio = np.array([[width / camera["width"]], [height / camera["height"]], [1.0]])
    intrinsics = np.array(camera["K"], np.float64).reshape(3, 3) * ratio
    return {**camera, "width": width, "height": height, "K": intrinsics.ravel().tolist()}


def world_from_blender(matrix: np.ndarray, name: str) -> tuple[np.ndarray, float]:
    """A Blender object's world matrix [4, 4] as a rigid one of avatar_core's world [4, 4], and its scale.

    The translation is in units of the scaled world (metres / scale). Raises SceneError for a scale that
    differs between axes, and for a mirrored object.
    """
    columns = np.linalg.norm(matrix[:3, :3], axis=0)
    scale = float(columns.mean())
    if scale < 1e-6 or np.abs(columns / scale - 1).max() > 1e-3 or np.linalg.det(matrix[:3, :3]) < 0:
        raise SceneError(f"'{name}' is scaled unevenly or mirrored; give it one positive scale on all axes.")
    turned = FROM_BLENDER @ rigid(matrix)
    turned[:3, 3] /= scale
    return turned, scale


def check_camera(camera: bpy.types.Object) -> None:
    """Raises SceneError for what is no perspective camera."""
    if camera.type != "CAMERA":
        raise SceneError(f"'{camera.name}' is the scene's camera but no camera: choose a camera object.")
    if camera.data.type != "PERSP":
        raise SceneError(
            f"Camera '{camera.name}' is {_KINDS.get(camera.data.type, camera.data.type)}; avatars need a"
            " perspective camera: change its lens type."
        )


def normals_to_blender(normals: np.ndarray) -> np.ndarray:
    """[..., 3] of avatar_core's world to Blender's."""
    return np.stack([normals[..., 0], -normals[..., 2], normals[..., 1]], -1)


def rigid(matrix: np.ndarray) -> np.ndarray:
    """[..., 4, 4] with the closest rotation in place of scale and shear."""
    left, _, right = np.linalg.svd(matrix[..., :3, :3])
    sign = np.linalg.det(left @ right)
    left[..., :, 2] *= sign[..., None]
    out = np.array(matrix, np.float64)
    out[..., :3, :3] = left @ right
    return out


_KINDS = {"ORTHO": "orthographic", "PANO": "panoramic", "CUSTOM": "a custom shader"}


def _border(share: float, side: int) -> int:
    """Blender multiplies in single precision and cuts off."""
    return int(np.float32(share) * np.float32(side))
