# SPDX-License-Identifier: GPL-3.0-or-later
"""Every difference between the Blenders we run in (4.2 to 5.x), and nothing else.

4.x: a scene owns its compositor tree, switched by `use_nodes`; the picture leaves by a Composite node.
5.x: a scene points to a node group (`compositing_node_group`); the picture leaves by the group's output.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import bpy
import numpy as np

GROUPED = bpy.app.version >= (5, 0, 0)  # the compositor is a node group
CROPS = bpy.app.version >= (4, 5, 0)  # the compositor cuts pictures by numbers of other nodes
# For a property that holds a path which may start with //: since 4.5 it must say so.
PATH_OPTIONS = {"PATH_SUPPORTS_BLEND_RELATIVE"} if bpy.app.version >= (4, 5, 0) else set()
_MATH = "ShaderNodeMath" if GROUPED else "CompositorNodeMath"
_EEVEE_BACKGROUND_AT_CLIP_END = bpy.app.version < (5, 0, 0)
_CLIP_SHARE = 0.999  # of clip_end: what is further is background
_FAR = 1e9  # metres; Cycles writes 1e10 where there is nothing

# Linear Rec.709 to a file's other working spaces (Blender 5), rows of [3, 3]; Bradford for another white.
_FROM_REC709 = {
    "Linear Rec.2020": (
        (0.6274039, 0.3292830, 0.0433131),
        (0.0690973, 0.9195404, 0.0113623),
        (0.0163914, 0.0880133, 0.8955953),
    ),
    "ACEScg": (
        (0.6130974, 0.3395231, 0.0473795),
        (0.0701937, 0.9163539, 0.0134524),
        (0.0206156, 0.1095698, 0.8698147),
    ),
}


@dataclass(frozen=True)
class MixNode:
    """result = mask * front + (1 - mask) * back; before 5.0 with the alpha of back."""

    node: Any
    mask: Any
    back: Any
    front: Any
    result: Any


@dataclass(frozen=True)
class OverNode:
    """result = foreground over background, both premultiplied."""

    node: Any
    background: Any
    foreground: Any
    result: Any


def compositor_tree(scene: bpy.types.Scene) -> Any:
    """The tree that the scene's compositor runs, or None where it runs none."""
    if GROUPED:
        return scene.compositing_node_group
    return scene.node_tree if scene.use_nodes else None


def own_compositor_tree(scene: bpy.types.Scene) -> Any:
    """`compositor_tree`, copied first where another scene or group uses it too (5.x)."""
    tree = compositor_tree(scene)
    if GROUPED and tree is not None and tree.users > 1:
        tree = scene.compositing_node_group = tree.copy()
    return tree


def make_compositor_tree(scene: bpy.types.Scene) -> Any:
    """Switches the scene's compositor on; an empty tree, or the one that was switched off."""
    if not GROUPED:
        scene.use_nodes = True
        return scene.node_tree
    tree = bpy.data.node_groups.new(f"{scene.name} Compositing", "CompositorNodeTree")
    tree.interface.new_socket("Image", in_out="OUTPUT", socket_type="NodeSocketColor")
    scene.compositing_node_group = tree
    return tree


def drop_compositor_tree(scene: bpy.types.Scene) -> None:
    """Switches the scene's compositor off; in 5.x its tree is deleted where it is empty or nobody else's."""
    if not GROUPED:
        scene.use_nodes = False
        return
    tree = scene.compositing_node_group
    scene.compositing_node_group = None
    if tree is not None and tree.users == 0:
        bpy.data.node_groups.remove(tree)


def output_socket(tree: Any) -> Any:
    """The socket that takes the picture; None where the tree has no output node."""
    kind = "NodeGroupOutput" if GROUPED else "CompositorNodeComposite"
    nodes = [node for node in tree.nodes if node.bl_idname == kind]
    nodes.sort(key=lambda node: not getattr(node, "is_active_output", node == tree.nodes.active))
    for node in nodes:
        for socket in node.inputs:
            if socket.type == "RGBA":
                return socket
    return None


def make_output(tree: Any) -> Any:
    """A new output node; returns its node."""
    if GROUPED and not any(
        item.item_type == "SOCKET" and item.in_out == "OUTPUT" for item in tree.interface.items_tree
    ):
        tree.interface.new_socket("Image", in_out="OUTPUT", socket_type="NodeSocketColor")
    return tree.nodes.new("NodeGroupOutput" if GROUPED else "CompositorNodeComposite")


def math_node(tree: Any, operation: str) -> Any:
    node = tree.nodes.new(_MATH)
    node.operation = operation
    return node


def over_node(tree: Any) -> OverNode:
    node = tree.nodes.new("CompositorNodeAlphaOver")
    images = [socket for socket in node.inputs if socket.type == "RGBA"]  # the background first, in every version
    return OverNode(node, images[0], images[1], node.outputs[0])


def mix_node(tree: Any, kind: str = "MIX") -> MixNode:
    """kind: MIX, or ADD and SUBTRACT, which give back + mask * front and back - mask * front with the alpha of back."""
    if GROUPED:
        node = tree.nodes.new("ShaderNodeMix")
        node.data_type, node.clamp_factor, node.blend_type = "RGBA", True, kind
        mask, result = named(node.inputs, "Factor", "VALUE"), named(node.outputs, "Result", "RGBA")
        return MixNode(node, mask, named(node.inputs, "A", "RGBA"), named(node.inputs, "B", "RGBA"), result)
    node = tree.nodes.new("CompositorNodeMixRGB")
    node.blend_type = kind
    back, front = (socket for socket in node.inputs if socket.type == "RGBA")
    return MixNode(node, named(node.inputs, "Fac", "VALUE"), back, front, node.outputs[0])


def grow_node(tree: Any, pixels: int) -> Any:
    """Its result is the largest value within so many pixels along both axes, the smallest for negative ones."""
    node = tree.nodes.new("CompositorNodeDilateErode")
    _choose(node, "mode", "STEP", "Type", "Steps")
    _set_size(node, pixels)
    return node


def blur_node(tree: Any, pixels: int) -> Any:
    """A mean by Gaussian weights of what is within so many pixels along both axes."""
    node = tree.nodes.new("CompositorNodeBlur")
    _choose(node, "filter_type", "GAUSS", "Type", "Gaussian")
    if "Size" in node.inputs and node.inputs["Size"].type == "VECTOR":  # since 4.5
        node.inputs["Size"].default_value = (pixels, pixels)
    else:
        node.size_x = node.size_y = pixels
    return node


def crop_node(tree: Any) -> Any:
    """Cuts a part out of a picture. Where `CROPS`."""
    node = tree.nodes.new("CompositorNodeCrop")
    named(node.inputs, "Alpha Crop").default_value = False
    return node


def translate_node(tree: Any) -> Any:
    """Moves a picture by whole pixels. Where `CROPS`."""
    node = tree.nodes.new("CompositorNodeTranslate")
    _choose(node, "interpolation", "NEAREST", "Interpolation", "Nearest")
    return node


def vector_node(tree: Any) -> Any:
    """Takes a vector apart."""
    return tree.nodes.new("ShaderNodeSeparateXYZ" if GROUPED else "CompositorNodeSeparateXYZ")


def alpha_node(tree: Any) -> Any:
    """Gives an image another alpha and leaves its colours alone."""
    node = tree.nodes.new("CompositorNodeSetAlpha")
    _choose(node, "mode", "REPLACE_ALPHA", "Type", "Replace Alpha")
    return node


def premultiply_node(tree: Any, back: bool = False) -> Any:
    """Multiplies colours by alpha, or divides them (`back`)."""
    node = tree.nodes.new("CompositorNodePremulKey")
    if back:
        _choose(node, "mapping", "PREMUL_TO_STRAIGHT", "Type", "To Straight")
    else:
        _choose(node, "mapping", "STRAIGHT_TO_PREMUL", "Type", "To Premultiplied")
    return node


def _choose(node: Any, name: str, value: str, socket: str, item: str) -> None:
    """A choice that is a property, or since 5.0 the menu of a socket."""
    if hasattr(node, name):
        setattr(node, name, value)
    else:
        named(node.inputs, socket).default_value = item


def _set_size(node: Any, pixels: int) -> None:
    if "Size" in node.inputs:  # since 4.5
        node.inputs["Size"].default_value = pixels
    else:
        node.distance = pixels


def named(sockets: Any, name: str, kind: str | None = None) -> Any:
    """The enabled socket of this name and type; indices and identifiers differ between versions."""
    for socket in sockets:
        if socket.name == name and socket.enabled and kind in (None, socket.type):
            return socket
    raise KeyError(f"{name} among {[socket.name for socket in sockets]}")


def background_distance(scene: bpy.types.Scene) -> float:
    """Metres: a depth of the scene beyond this is background. EEVEE before 5.0 writes clip_end there."""
    eevee = scene.render.engine.startswith("BLENDER_EEVEE")
    if not (eevee and _EEVEE_BACKGROUND_AT_CLIP_END) or scene.camera is None or scene.camera.type != "CAMERA":
        return _FAR
    return _CLIP_SHARE * scene.camera.data.clip_end


def from_rec709() -> np.ndarray | None:
    """[3, 3] from linear Rec.709 to the file's working space; None where that is Rec.709 (as before 5.0)."""
    space = getattr(getattr(bpy.data, "colorspace", None), "working_space", "Linear Rec.709")
    rows = _FROM_REC709.get(space)
    return None if rows is None else np.array(rows, np.float32)


def scene_linear(node: Any) -> str:
    """What a Convert Colorspace node calls the file's working space."""
    names = _names(node, "from_color_space")
    return "scene_linear" if "scene_linear" in names else "Linear Rec.709"


def display_space(node: Any, view: str) -> str | None:
    """What a Convert Colorspace node calls the pictures that a view transform makes for an sRGB display."""
    names = _names(node, "to_color_space")
    return next((name for name in (f"{view} sRGB", f"{view} Base sRGB") if name in names), None)


def _names(node: Any, choice: str) -> list[str]:
    return [item.identifier for item in node.bl_rna.properties[choice].enum_items]


def write_passes(render: bpy.types.RenderSettings) -> None:
    """All passes into one EXR file a frame, 32 bits."""
    settings = render.image_settings
    if hasattr(settings, "media_type"):  # since 5.0 it comes first
        settings.media_type = "MULTI_LAYER_IMAGE"
    settings.file_format = "OPEN_EXR_MULTILAYER"
    settings.color_depth, settings.exr_codec = "32", "ZIP"
    render.use_file_extension = True


def shutter(scene: bpy.types.Scene) -> tuple[float, float] | None:
    """When it opens and closes, in frames after the current one; None without motion blur."""
    render = scene.render
    if not render.use_motion_blur:
        return None
    cycles = getattr(scene, "cycles", None)  # held the position before 4.3
    position = getattr(render, "motion_blur_position", None) or getattr(cycles, "motion_blur_position", "CENTER")
    opens = {"START": 0.0, "END": -1.0}.get(str(position), -0.5) * render.motion_blur_shutter
    return opens, opens + render.motion_blur_shutter


def curves(owner: Any, path: str) -> list[Any]:
    """The F-curves of a keyed property of `owner` (object, shape keys), in the order of its components."""
    action = owner.animation_data.action
    if hasattr(owner.animation_data, "action_slot"):  # since 4.4
        slot = owner.animation_data.action_slot
        strips = (strip for layer in action.layers for strip in layer.strips)
        found = [curve for strip in strips for curve in strip.channelbag(slot).fcurves]
    else:
        found = list(action.fcurves)
    return sorted((curve for curve in found if curve.data_path == path), key=lambda curve: curve.array_index)
