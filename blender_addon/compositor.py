# SPDX-License-Identifier: GPL-3.0-or-later
"""The second scene and the depth merge: set up with one click, removed without a trace.

The scene `<name> Avatars` renders the avatars of its owner: it links their armatures and bodies and all
cameras. In the owner's compositor one node group, merge.py's, is put in front of the output. Set-up writes down
what was there (scene.avatar.before), removal restores it.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from typing import Any

import bpy

from . import box, compat
from .errors import SceneError
from .merge import GROUP, MARK, is_current, merge_group
from .properties import ENGINE, actor_objects, body_mesh

_SOURCES = ("CompositorNodeRLayers", "CompositorNodeImage")  # avatars that are rendered, or baked
_PASSES = ("use_pass_z", "use_pass_mist")  # that the merge needs of the scene
_MIST = {"start": 0.0, "depth": 100.0, "falloff": "LINEAR"}  # tells apart whatever is within 100 m


def set_up(scene: bpy.types.Scene) -> bpy.types.Scene:
    """Makes or refreshes the scene of avatars and the nodes; returns that scene. Raises SceneError."""
    if scene.avatar.owner is not None:
        raise SceneError(f"'{scene.name}' belongs to '{scene.avatar.owner.name}': set up that scene.")
    if scene.render.engine == ENGINE:
        raise SceneError(f"'{scene.name}' is rendered by Neural Avatars itself; choose Cycles or EEVEE for the set.")
    if not actor_objects(scene):
        raise SceneError(f"Scene '{scene.name}' has no avatar yet: load an actor first.")
    inherited = scene.avatar.avatars
    origin = inherited.avatar.owner if inherited is not None else None  # another scene where this is its copy
    avatars = _scene_of_avatars(scene) or _new_scene(scene)
    _link(scene, avatars)
    if not is_set_up(scene) or not is_current(merge_node(scene).node_tree):
        _insert(scene, avatars, origin)
    compat.named(merge_node(scene).inputs, "Background From").default_value = compat.background_distance(scene)
    for node in our_nodes(compat.compositor_tree(scene)):
        if _is_layer(node, avatars):
            node.layer = node.layer  # has Blender look for new passes
    return avatars


def remove(scene: bpy.types.Scene) -> None:
    """Undoes `set_up`. What the user changed since then stays."""
    tree = compat.compositor_tree(scene)
    before = json.loads(scene.avatar.before or "{}")
    if tree is not None:
        _take_out(tree, before)
        if not before.get("compositor", True) and (not compat.GROUPED or not tree.nodes):
            compat.drop_compositor_tree(scene)
    for name, passes in before.get("passes", {}).items():
        for key, value in passes.items() if name in scene.view_layers else ():
            setattr(scene.view_layers[name], key, value)
    for key, value in before.get("mist", {}).items() if scene.world is not None else ():
        setattr(scene.world.mist_settings, key, value)
    avatars = _scene_of_avatars(scene)
    if avatars is not None:
        bpy.data.scenes.remove(avatars)
    scene.avatar.avatars, scene.avatar.before = None, ""


def is_set_up(scene: bpy.types.Scene) -> bool:
    """Whether scene and nodes are there and belong together."""
    if _scene_of_avatars(scene) is None or merge_node(scene) is None:
        return False
    return any(node.bl_idname in _SOURCES for node in our_nodes(compat.compositor_tree(scene)))


def merge_node(scene: bpy.types.Scene) -> Any:
    """The node that merges avatars into the scene's picture; None where there is none."""
    return next((node for node in our_nodes(compat.compositor_tree(scene)) if _merges(node)), None)


def avatar_layer(scene: bpy.types.Scene) -> Any:
    """The node that brings the scene of avatars into the compositor; None where there is none."""
    avatars = _scene_of_avatars(scene)
    nodes = our_nodes(compat.compositor_tree(scene)) if avatars is not None else []
    return next((node for node in nodes if _is_layer(node, avatars)), None)


def missing_links(scene: bpy.types.Scene) -> list[str]:
    """Names of avatars and cameras that the scene of avatars does not hold yet."""
    avatars = _scene_of_avatars(scene)
    if avatars is None:
        return []
    held = set(avatars.objects)
    return [found.name for found in _needed(scene) if found not in held]


def _scene_of_avatars(scene: bpy.types.Scene) -> bpy.types.Scene | None:
    """A copied scene still points to that of its original, which is not its own."""
    avatars = scene.avatar.avatars
    return avatars if avatars is not None and avatars.avatar.owner == scene else None


def _new_scene(scene: bpy.types.Scene) -> bpy.types.Scene:
    avatars = bpy.data.scenes.new(f"{scene.name} Avatars"[:60])
    avatars.render.engine = ENGINE
    avatars.avatar.owner, scene.avatar.avatars = scene, avatars
    return avatars


def _needed(scene: bpy.types.Scene) -> list[bpy.types.Object]:
    actors = actor_objects(scene)
    bodies = [mesh for mesh in map(body_mesh, actors) if mesh is not None]
    return [*actors, *bodies, *(found for found in scene.objects if found.type == "CAMERA")]


def _link(scene: bpy.types.Scene, avatars: bpy.types.Scene) -> None:
    needed = _needed(scene)
    for found in list(avatars.collection.objects):
        if found not in needed:
            avatars.collection.objects.unlink(found)
    for found in needed:
        if found.name not in avatars.objects:
            avatars.collection.objects.link(found)
    avatars.camera = scene.camera
    avatars.frame_start, avatars.frame_end = scene.frame_start, scene.frame_end
    avatars.render.fps, avatars.render.fps_base = scene.render.fps, scene.render.fps_base
    for layer in avatars.view_layers:
        layer.use_pass_z = layer.use_pass_normal = layer.use_pass_cryptomatte_object = True
        layer.pass_cryptomatte_depth = 2 * math.ceil(len(actor_objects(scene)) / 2)  # more cannot share a pixel
        layer.update_render_passes()


def _insert(scene: bpy.types.Scene, avatars: bpy.types.Scene, origin: bpy.types.Scene | None) -> None:
    tree = compat.own_compositor_tree(scene)
    before: dict[str, Any] = {"compositor": tree is not None, "passes": {}}
    if tree is None:
        tree = compat.make_compositor_tree(scene)
    elif our_nodes(tree):  # left over, such as in a copied scene
        before |= json.loads(scene.avatar.before or "{}")
        _take_out(tree, before)
        for node in tree.nodes:
            if origin is not None and _is_layer(node, origin):
                node.scene = scene
    output = compat.output_socket(tree)
    if output is None:
        mark(compat.make_output(tree))
        output = compat.output_socket(tree)
    link = output.links[0] if output.is_linked else None
    before["link"] = [link.from_node.name, link.from_socket.identifier] if link else None
    source = link.from_socket if link and before["compositor"] else None
    layers = [node for node in _upstream(source) if _is_layer(node, scene)]
    if not layers:
        layers = [layer_node(tree, scene)]
        source = source or compat.named(layers[0].outputs, "Image")
    _give_passes(scene, {node.layer for node in layers}, before)
    avatar_layer = layer_node(tree, avatars)
    group = mark(tree.nodes.new("CompositorNodeGroup"))
    group.node_tree, group.label, group.width = merge_group(), GROUP, 180
    tree.links.new(source, compat.named(group.inputs, "Scene"))
    for name in ("Depth", "Mist"):
        if name in layers[0].outputs:
            tree.links.new(_smallest(tree, layers, name), compat.named(group.inputs, f"Scene {name}"))
    for name, taken in (("Image", "Avatars"), ("Depth", "Avatars Depth"), (box.PASS, f"Avatars {box.PASS}")):
        tree.links.new(compat.named(avatar_layer.outputs, name), compat.named(group.inputs, taken))
    tree.links.new(compat.named(group.outputs, "Image"), output)
    _arrange(output.node, group, avatar_layer)
    scene.avatar.before = json.dumps(before)


def _merges(node: Any) -> bool:
    return node.bl_idname == "CompositorNodeGroup" and node.node_tree is not None and "Scene Depth" in node.inputs


def _is_layer(node: Any, scene: bpy.types.Scene) -> bool:
    return node.bl_idname == "CompositorNodeRLayers" and node.scene == scene


def layer_node(tree: Any, scene: bpy.types.Scene) -> Any:
    """A new node that brings the first view layer of a scene."""
    node = mark(tree.nodes.new("CompositorNodeRLayers"))
    node.scene = scene
    node.layer = next((layer.name for layer in scene.view_layers if layer.use), scene.view_layers[0].name)
    return node


def _give_passes(scene: bpy.types.Scene, names: set[str], before: dict[str, Any]) -> None:
    """Switches on what the merge needs of the named view layers; the mist is made to reach over any set, where the
    artist does not use it."""
    layers = [scene.view_layers[name] for name in names]
    mist = scene.world.mist_settings if scene.world is not None and scene.world.library is None else None
    if mist is not None and "mist" not in before and not any(layer.use_pass_mist for layer in scene.view_layers):
        before["mist"] = {key: getattr(mist, key) for key in _MIST}
        for key, value in _MIST.items():
            setattr(mist, key, value)
    for layer in layers:
        before["passes"].setdefault(layer.name, {key: getattr(layer, key) for key in _PASSES})
        for key in _PASSES:
            setattr(layer, key, True)
        layer.update_render_passes()


def _smallest(tree: Any, layers: list[Any], name: str) -> Any:
    """The smallest depth, or mist, among the view layers that make the picture."""
    closest = compat.named(layers[0].outputs, name)
    for node in layers[1:]:
        smaller = mark(compat.math_node(tree, "MINIMUM"))
        smaller.location = (node.location.x + 260, node.location.y - 200)
        tree.links.new(closest, smaller.inputs[0])
        tree.links.new(compat.named(node.outputs, name), smaller.inputs[1])
        closest = smaller.outputs[0]
    return closest


def _take_out(tree: Any, before: dict[str, Any]) -> None:
    """Our nodes, and the groups that nobody else uses."""
    _restore_link(tree, before)
    groups = {node.node_tree for node in our_nodes(tree) if node.bl_idname == "CompositorNodeGroup"}
    for node in our_nodes(tree):
        tree.nodes.remove(node)
    for group in groups:
        if group is not None and group.users == 0:
            bpy.data.node_groups.remove(group)


def _restore_link(tree: Any, before: dict[str, Any]) -> None:
    """Connects the output to what it showed before, or to what feeds our group today."""
    group = next((node for node in our_nodes(tree) if _merges(node)), None)
    output = compat.output_socket(tree)
    if group is None or output is None:
        return
    shown = compat.named(group.outputs, "Image")
    targets = [link.to_socket for link in shown.links]
    feed = compat.named(group.inputs, "Scene")
    source = feed.links[0].from_socket if feed.is_linked and before.get("compositor", True) else None
    if source is None or source.node.get(MARK):
        source = _remembered(tree, before.get("link"))
    for target in targets:
        if source is not None:
            tree.links.new(source, target)


def _remembered(tree: Any, link: list[str] | None) -> Any:
    node = tree.nodes.get(link[0]) if link else None
    if node is None or link is None:
        return None
    return next((socket for socket in node.outputs if socket.identifier == link[1]), None)


def _upstream(socket: Any) -> Iterator[Any]:
    """The nodes that feed an output socket, its own first."""
    todo, seen = [socket.node] if socket is not None else [], set()
    while todo:
        node = todo.pop()
        if node.name in seen:
            continue
        seen.add(node.name)
        yield node
        todo += [link.from_node for entry in node.inputs for link in entry.links]


def our_nodes(tree: Any) -> list[Any]:
    """The nodes of a compositor that `set_up` and baked.py made."""
    return [node for node in tree.nodes if node.get(MARK)] if tree is not None else []


def mark(node: Any) -> Any:
    """Makes a node one of ours."""
    node[MARK] = True
    return node


def _arrange(output: Any, group: Any, avatar_layer: Any) -> None:
    x, y = output.location
    group.location = (x, y)
    output.location = (x + 240, y)
    avatar_layer.location = (x - 320, y - 420)
