"""A shot whose right picture is known: the avatar is a mesh that Cycles renders, alone and among the set.

Dark bars and a ball stand before a striped body before a bright sky.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import bpy
import numpy as np
import shot
from pictures import ADDON, still

SIZE = (200, 240)
SAMPLES = 25


def render(scene: bpy.types.Scene, layer: Any) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """The staged scene [H, W, 4] as the merge makes it, as Cycles does, and by comparing depths alone; where the last
    two differ."""
    with avatars_are(layer):
        made = still(scene)
    source = import_module(f"{ADDON}.compositor").merge_node(scene).inputs
    plate, depth = (still(scene, source[name].links[0].from_socket) for name in ("Scene", "Scene Depth"))
    before = (layer.depth < depth[..., 0])[..., None]
    over = layer.rgba + (1 - layer.rgba[..., 3:]) * plate
    compared = np.where(before, over, plate + (1 - plate[..., 3:]) * layer.rgba)
    show_body(scene, True)
    truth = still(scene, source["Scene"].links[0].from_socket)
    show_body(scene, False)
    return made, truth, compared, np.abs(compared - truth).max(-1) > 0.02


def stage(actor: Path) -> tuple[bpy.types.Scene, Any]:
    """The scene, set up, and the avatar's picture as the worker would give it (session.Planes)."""
    shot.build(actor, {**shot.DEFAULTS, "bare": True, "frames": 1})
    scene = bpy.context.scene
    scene.timeline_markers.clear()
    scene.render.resolution_x, scene.render.resolution_y = SIZE
    scene.cycles.samples, scene.cycles.pixel_filter_type = SAMPLES, "BLACKMAN_HARRIS"
    bpy.data.objects["A"].location = (0, -3, 0.1)
    scene.world.node_tree.nodes["Background"].inputs[0].default_value = (0.8, 0.9, 1, 1)
    scene.camera = bpy.data.objects["A"]
    front = []
    for place, turn in ((-0.25, 0.2), (0.0, -0.35), (0.22, 0.08)):
        bpy.ops.mesh.primitive_cube_add(location=(place, -0.8, 0), rotation=(0, turn, 0.3), scale=(0.03, 0.03, 1.5))
        front.append(bpy.context.object)
    bpy.ops.mesh.primitive_uv_sphere_add(radius=0.16, location=(0.05, -0.9, 0.25))
    front.append(bpy.context.object)
    for item in front:
        item.data.materials.append(glow("bar", (0.02, 0.02, 0.03)))
    body(scene).data.materials.clear()
    body(scene).data.materials.append(stripes())
    show_body(scene, True)
    scene.render.film_transparent = True
    for item in front:
        item.hide_render = True
    sockets = import_module(f"{ADDON}.compositor").merge_node(scene).inputs
    rgba, depth = (still(scene, sockets[name].links[0].from_socket) for name in ("Scene", "Scene Depth"))
    for item in front:
        item.hide_render = False
    scene.render.film_transparent = False
    show_body(scene, False)
    rgba[rgba[..., 3] < 1e-6] = 0  # Cycles' sums are not exact
    depth = np.where(rgba[..., 3] > 0, np.minimum(depth[..., 0], grown(depth[..., 0])), 1e10).astype(np.float32)
    planes = import_module(f"{ADDON}.session").Planes
    return scene, planes(rgba, depth, np.zeros((*depth.shape, 3), np.float32), rgba[..., 3])


def grown(depth: np.ndarray) -> np.ndarray:
    """The closest of the 3 x 3 around: a soft pixel's depth is that of what covers part of it."""
    around = np.lib.stride_tricks.sliding_window_view(np.pad(depth, 1, mode="edge"), (3, 3))
    return around.min((-1, -2))


@contextlib.contextmanager
def avatars_are(planes: Any) -> Iterator[None]:
    """The worker's picture is this one."""
    session = import_module(f"{ADDON}.session").Session
    real, session.render = session.render, lambda *_, **__: planes
    try:
        yield
    finally:
        session.render = real


def body(scene: bpy.types.Scene) -> bpy.types.Object:
    return next(found for found in scene.objects if found.avatar.actor_path).avatar.mesh


def show_body(scene: bpy.types.Scene, shown: bool) -> None:
    body(scene).visible_camera = shown


def glow(name: str, colour: tuple[float, float, float]) -> bpy.types.Material:
    """Light of its own and no other, so that the picture has no noise but at edges."""
    made = bpy.data.materials.new(name)
    if bpy.app.version < (5, 0, 0):
        made.use_nodes = True
    tree = made.node_tree
    tree.nodes.clear()
    emission, output = tree.nodes.new("ShaderNodeEmission"), tree.nodes.new("ShaderNodeOutputMaterial")
    emission.inputs[0].default_value = (*colour, 1)
    tree.links.new(emission.outputs[0], output.inputs[0])
    return made


def stripes() -> bpy.types.Material:
    made = glow("stripes", (0.5, 0.2, 0.1))
    tree = made.node_tree
    place, wave = tree.nodes.new("ShaderNodeTexCoord"), tree.nodes.new("ShaderNodeTexWave")
    ramp = tree.nodes.new("ShaderNodeValToRGB")
    ramp.color_ramp.elements[0].color, ramp.color_ramp.elements[1].color = (0.25, 0.05, 0.03, 1), (0.5, 0.3, 0.1, 1)
    wave.inputs["Scale"].default_value = 1.5
    tree.links.new(place.outputs["Object"], wave.inputs["Vector"])
    tree.links.new(wave.outputs["Fac"], ramp.inputs[0])
    tree.links.new(ramp.outputs[0], tree.nodes["Emission"].inputs[0])
    return made
