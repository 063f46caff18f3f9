"""The free body seen from the front, as many faces as the first measurements had. The peer draws the same faces by
OpenGL on the CPU (llvmpipe), and hands over face and depth but no barycentrics."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from functools import partial

import numpy as np
import torch
from torch import Tensor

from avatar_core.body import load_body
from avatar_core.camera import Camera
from avatar_core.cuda.raster import homogeneous_pixels, interpolate, rasterise
from benchmarks.timing import Case

_NEAR, _FAR = 0.1, 10.0  # metres
_VERTEX = """
#version 330
in vec4 position;
void main() { gl_Position = position; }
"""
_FRAGMENT = """
#version 330
out int face;
void main() { face = gl_PrimitiveID; }
"""


def cases() -> Iterator[Case]:
    body = load_body()
    vertices, faces = torch.tensor(body.vertices).float(), torch.tensor(body.faces).long()
    for side, fixed in ((512, 1.5), (1024, 4.0)):
        camera = Camera.look_at(np.array([0, -0.1, 2.6]), np.array([0, -0.2, 0]), math.radians(40), side, side)
        positions = homogeneous_pixels(vertices, camera)
        peer = _opengl(positions, faces, side)
        yield Case(
            "rasterisation",
            f"{len(faces)} faces, {side}^2",
            partial(rasterise, positions, faces, side, side),
            {"OpenGL": peer} if peer else {},
            {"OpenGL": 7.0} if peer and side == 512 else {},
            fixed,
        )
        raster = rasterise(positions, faces, side, side)
        yield Case(
            "interpolation both ways",
            f"{side}^2, 3 channels",
            partial(_both_ways, vertices, faces, raster.face, raster.bary),
        )


def _both_ways(vertices: Tensor, faces: Tensor, face: Tensor, bary: Tensor) -> None:
    interpolate(vertices.clone().requires_grad_(), faces, face, bary).sum().backward()


def _opengl(positions: Tensor, faces: Tensor, side: int) -> Callable[[], object] | None:
    """Upload, draw, read back; None where moderngl or a software OpenGL is missing."""
    try:
        import moderngl

        context = moderngl.create_standalone_context(backend="egl")
    except Exception:
        return None
    if "llvmpipe" not in context.info["GL_RENDERER"]:
        return None
    x, y, w = positions.unbind(1)
    depth = (w * (_FAR + _NEAR) - 2 * _FAR * _NEAR) / (_FAR - _NEAR)
    clip = torch.stack([2 * x / side - w, 2 * y / side - w, depth, w], 1).numpy().tobytes()
    program = context.program(vertex_shader=_VERTEX, fragment_shader=_FRAGMENT)
    vertices, indices = context.buffer(clip), context.buffer(faces.int().numpy().tobytes())
    array = context.vertex_array(program, [(vertices, "4f", "position")], indices)
    ids, depths = context.texture((side, side), 1, dtype="i4"), context.depth_texture((side, side))
    frame = context.framebuffer([ids], depths)

    def draw() -> tuple[bytes, bytes]:
        context.enable(moderngl.DEPTH_TEST)
        frame.use()
        vertices.write(clip)
        frame.clear()
        array.render()
        return ids.read(), depths.read()

    return draw
