# SPDX-License-Identifier: GPL-3.0-or-later
"""Captured colours beside a set that goes through AgX or Filmic.

Avatars are photographs: their colours are those of a display, which a view transform for light (AgX, Filmic) changes,
and which it cannot all show. So the transform moves from the scene's colour management into the compositor, in front
of the merge, where only the set passes it; the scene's own becomes Standard, which shows avatars as they were captured.
The set looks as before; files that hold light (EXR) hold the picture of the display, made linear.
"""

from __future__ import annotations

import itertools
import json
from typing import Any

import bpy

from . import compat, compositor
from .errors import SceneError

STANDARD = "Standard"
_GROUP = "Avatar Set Colours"


def view_of_set(scene: bpy.types.Scene) -> str:
    """The view transform that the set goes through in the compositor; empty where it goes through none."""
    node = _node(scene)
    return json.loads(scene.avatar.view).get("view_transform", "") if node is not None and scene.avatar.view else ""


def keep(scene: bpy.types.Scene) -> str:
    """Moves the scene's view transform in front of the merge; returns its name. Raises SceneError."""
    merge, view = compositor.merge_node(scene), scene.view_settings
    if merge is None:
        raise SceneError(f"Scene '{scene.name}' is not set up: press Set Up Compositing first.")
    name = view.view_transform
    if name == STANDARD:
        raise SceneError("The view transform is Standard: it shows the captured colours already.")
    if view.look != "None" or view.gamma != 1 or view.use_curve_mapping:
        raise SceneError(
            "Set the look to None, gamma to 1 and curves off: only the view transform itself can be moved."
        )
    tree, group = compat.compositor_tree(scene), _display_group(name, view.exposure)
    feed = compat.named(merge.inputs, "Scene")
    source = feed.links[0].from_socket
    node = compositor.mark(tree.nodes.new("CompositorNodeGroup"))
    node.node_tree, node.label = group, f"{name} for the Set"
    node.location = (merge.location.x - 200, merge.location.y + 140)
    tree.links.new(source, node.inputs[0])
    tree.links.new(node.outputs[0], feed)
    scene.avatar.view = json.dumps({"view_transform": name, "exposure": view.exposure})
    view.view_transform, view.exposure = STANDARD, 0
    return name


def release(scene: bpy.types.Scene) -> None:
    """Undoes `keep`."""
    if _node(scene) is None:
        return
    tree = compat.own_compositor_tree(scene)  # a copied scene leaves its original's alone
    node = _node(scene)
    group = node.node_tree
    if node.inputs[0].is_linked:
        for link in list(node.outputs[0].links):
            tree.links.new(node.inputs[0].links[0].from_socket, link.to_socket)
    tree.nodes.remove(node)
    if group.users == 0:
        bpy.data.node_groups.remove(group)
    for key, value in json.loads(scene.avatar.view or "{}").items():
        setattr(scene.view_settings, key, value)
    scene.avatar.view = ""


def _node(scene: bpy.types.Scene) -> Any:
    nodes = compositor.our_nodes(compat.compositor_tree(scene))
    return next((node for node in nodes if getattr(node, "node_tree", None) and _GROUP in node.node_tree.name), None)


def _display_group(view: str, exposure: float) -> Any:
    """Light to what the view transform makes of it on an sRGB display, as light of that display."""
    group = bpy.data.node_groups.new(_GROUP, "CompositorNodeTree")
    for direction in ("INPUT", "OUTPUT"):
        group.interface.new_socket("Image", in_out=direction, socket_type="NodeSocketColor")
    exposed = group.nodes.new("CompositorNodeExposure")
    compat.named(exposed.inputs, "Exposure").default_value = exposure
    shown, linear = (group.nodes.new("CompositorNodeConvertColorSpace") for _ in range(2))
    light = compat.scene_linear(shown)
    display = compat.display_space(shown, view)
    if display is None:
        bpy.data.node_groups.remove(group)
        raise SceneError(f"Blender cannot convert by '{view}' in the compositor: choose AgX, Filmic or Standard.")
    shown.from_color_space, shown.to_color_space = light, display
    linear.from_color_space, linear.to_color_space = "sRGB", light
    chain = [
        *(group.nodes.new("NodeGroupInput"), compat.premultiply_node(group, back=True), exposed, shown, linear),
        *(compat.premultiply_node(group), group.nodes.new("NodeGroupOutput")),
    ]
    for place, (node, following) in enumerate(itertools.pairwise(chain)):
        group.links.new(node.outputs[0], following.inputs[0])
        following.location.x = 190 * (place + 1)
    return group
