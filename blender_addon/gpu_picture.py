# SPDX-License-Identifier: GPL-3.0-or-later
"""What the viewport draws of an avatar: its picture with a depth in every pixel, or its body as a stand-in."""

from __future__ import annotations

import functools
from typing import Any

import bpy
import gpu
import numpy as np
from gpu_extras.batch import batch_for_shader

from .layers import Picture

_PICTURE_VERTEX = "void main() { at = corner; gl_Position = vec4(corner * 2.0 - 1.0, 0.0, 1.0); }"
# Four neighbours by hand: their colours are mixed, their depths are not, the closest counts. Row 0 is the top.
# Blender lays what is drawn over the scene's displayed colours, and takes a display's gamma for 2.2, not for sRGB.
_PICTURE_FRAGMENT = """
void main() {
  ivec2 size = textureSize(colours, 0);
  vec2 place = vec2(at.x, 1.0 - at.y) * vec2(size) - 0.5;
  ivec2 first = ivec2(floor(place));
  vec2 part = place - vec2(first);
  vec4 colour = vec4(0.0);
  float depth = 1e10;
  for (int i = 0; i < 4; i++) {
    ivec2 step = ivec2(i & 1, i >> 1);
    ivec2 texel = clamp(first + step, ivec2(0), size - 1);
    vec2 weight = mix(1.0 - part, part, vec2(step));
    colour += weight.x * weight.y * texelFetch(colours, texel, 0);
    depth = min(depth, texelFetch(depths, texel, 0).r);
  }
  if (colour.a < 0.004) discard;
  vec4 clip = projection * vec4(0.0, 0.0, -depth, 1.0);
  gl_FragDepth = clamp(clip.z / clip.w * 0.5 + 0.5, 0.0, 1.0);
  vec3 captured = clamp(colour.rgb / colour.a, 0.0, 1.0);
  vec3 dark = vec3(lessThan(captured, vec3(0.0031308)));
  vec3 displayed = mix(1.055 * pow(captured, vec3(1.0 / 2.4)) - 0.055, 12.92 * captured, dark);
  shade = vec4(pow(displayed, vec3(2.2)), 1.0) * colour.a;
}
"""
_BODY_VERTEX = """
void main() {
  facing = normalize(mat3(seen) * normal).z;
  gl_Position = projection * seen * vec4(position, 1.0);
}
"""
_BODY_FRAGMENT = "void main() { shade = vec4(vec3(0.06 + 0.24 * abs(facing)), 1.0); }"


class GpuPicture:
    """A picture on the GPU, drawn over the whole region."""

    def __init__(self, picture: Picture) -> None:
        height, width = picture.depth.shape
        self._colours = gpu.types.GPUTexture((width, height), format="RGBA16F", data=_buffer(picture.rgba))
        self._depths = gpu.types.GPUTexture((width, height), format="R32F", data=_buffer(picture.depth))

    def draw(self, projection: Any, tested: bool) -> None:
        """projection: of the view, Blender's window_matrix. tested: by depth; else it covers all objects."""
        shader, quad = _picture_shader()
        shader.bind()
        shader.uniform_sampler("colours", self._colours)
        shader.uniform_sampler("depths", self._depths)
        shader.uniform_float("projection", projection)
        with _Tested("ALPHA_PREMULT", "LESS_EQUAL" if tested else "ALWAYS"):
            quad.draw(shader)


class GpuBody:
    """A posed mesh, grey, lit from the eye."""

    def __init__(self, evaluated: bpy.types.Object) -> None:
        mesh = evaluated.to_mesh()
        mesh.calc_loop_triangles()
        positions, normals = np.empty((2, len(mesh.vertices), 3), np.float32)
        triangles = np.empty((len(mesh.loop_triangles), 3), np.int32)
        mesh.vertices.foreach_get("co", positions.ravel())
        mesh.vertices.foreach_get("normal", normals.ravel())
        mesh.loop_triangles.foreach_get("vertices", triangles.ravel())
        evaluated.to_mesh_clear()
        self._model = evaluated.matrix_world.copy()
        arrays = {"position": positions, "normal": normals}
        self._batch = batch_for_shader(_body_shader(), "TRIS", arrays, indices=triangles)

    def draw(self, region3d: bpy.types.RegionView3D) -> None:
        shader = _body_shader()
        shader.bind()
        shader.uniform_float("seen", region3d.view_matrix @ self._model)
        shader.uniform_float("projection", region3d.window_matrix)
        with _Tested("NONE"):
            self._batch.draw(shader)


class _Tested:
    """Depths are tested and written inside, colours blended as named."""

    def __init__(self, blend: str, test: str = "LESS_EQUAL") -> None:
        self._blend, self._test = blend, test

    def __enter__(self) -> None:
        gpu.state.depth_test_set(self._test)
        gpu.state.depth_mask_set(True)
        gpu.state.blend_set(self._blend)

    def __exit__(self, *_: object) -> None:
        gpu.state.depth_test_set("NONE")
        gpu.state.depth_mask_set(False)
        gpu.state.blend_set("NONE")


@functools.cache
def _picture_shader() -> tuple[gpu.types.GPUShader, gpu.types.GPUBatch]:
    info = gpu.types.GPUShaderCreateInfo()
    info.vertex_in(0, "VEC2", "corner")
    info.push_constant("MAT4", "projection")
    info.sampler(0, "FLOAT_2D", "colours")
    info.sampler(1, "FLOAT_2D", "depths")
    if hasattr(info, "depth_write"):  # since 5.0 it must be said
        info.depth_write("ANY")
    shader = _shader(info, "avatar_picture", ("VEC2", "at"), _PICTURE_VERTEX, _PICTURE_FRAGMENT)
    return shader, batch_for_shader(shader, "TRI_FAN", {"corner": ((0, 0), (1, 0), (1, 1), (0, 1))})


@functools.cache
def _body_shader() -> gpu.types.GPUShader:
    info = gpu.types.GPUShaderCreateInfo()
    info.vertex_in(0, "VEC3", "position")
    info.vertex_in(1, "VEC3", "normal")
    for name in ("seen", "projection"):
        info.push_constant("MAT4", name)
    return _shader(info, "avatar_body", ("FLOAT", "facing"), _BODY_VERTEX, _BODY_FRAGMENT)


def _shader(info: Any, name: str, passed: tuple[str, str], vertex: str, fragment: str) -> gpu.types.GPUShader:
    interface = gpu.types.GPUStageInterfaceInfo(name)
    interface.smooth(*passed)
    info.vertex_out(interface)
    info.fragment_out(0, "VEC4", "shade")
    info.vertex_source(vertex)
    info.fragment_source(fragment)
    return gpu.shader.create_from_info(info)


def _buffer(values: np.ndarray) -> gpu.types.Buffer:
    flat = np.ascontiguousarray(values, np.float32).ravel()
    return gpu.types.Buffer("FLOAT", flat.size, flat)
