"""What an artist has in a .blend, as plain values that can be compared."""

from __future__ import annotations

from importlib import import_module
from typing import Any

import bpy
from pictures import ADDON

KINDS = (
    *("scenes", "collections", "objects", "armatures", "meshes", "shape_keys", "materials", "cameras"),
    *("actions", "images", "node_groups"),
)
PLACE = ("location", "rotation_euler", "rotation_quaternion", "scale")
SHOWN = ("hide_render", "hide_viewport", "display_type", "visible_camera", "parent_type", "parent_bone")
PICTURE = ("engine", "resolution_x", "resolution_y", "use_compositing", "fps")


def contents() -> dict[str, Any]:
    """By kind, library and name of each data-block."""
    found: dict[str, Any] = {}
    for kind in KINDS:
        for block in getattr(bpy.data, kind):
            found[f"{kind} {named(block.library)} {block.name}"] = [*_READ.get(kind, nothing)(block), *animation(block)]
    return found


def nothing(one: Any) -> list[Any]:
    return []


def settings(group: Any) -> list[Any]:
    """Of one of the extension's property groups."""
    names = [one.identifier for one in group.bl_rna.properties if one.identifier not in ("rna_type", "name")]
    return [(name, plain(getattr(group, name))) for name in names]


def plain(value: Any) -> Any:
    if isinstance(value, bpy.types.bpy_struct):
        return named(value)
    if isinstance(value, float):
        return round(value, 4)
    return value if isinstance(value, (str, int, bool, type(None))) else [plain(part) for part in value]


def named(one: Any) -> str:
    return one.name if one is not None else ""


def custom(one: Any) -> list[Any]:
    """Properties without a definition; those of Blender and of add-ons are groups."""
    kept = {name: value for name, value in one.items() if not hasattr(value, "to_dict")}
    return sorted((name, plain(value)) for name, value in kept.items() if not isinstance(value, bpy.types.ID))


def an_object(one: bpy.types.Object) -> list[Any]:
    placed = [plain(getattr(one, name)) for name in (*PLACE, *SHOWN)]
    held = [(kind.type, kind.name) for kind in one.modifiers], [group.name for group in one.vertex_groups]
    bones = one.pose.bones if one.pose is not None else ()
    posed = [(bone.name, bone.rotation_mode, *(plain(getattr(bone, name)) for name in PLACE)) for bone in bones]
    bound = [(bone.name, rule.type, rule.mute) for bone in bones for rule in bone.constraints]
    whose = named(one.parent), named(one.data), one.hide_get(), one.override_library is not None
    return [settings(one.avatar), custom(one), placed, held, posed, bound, whose]


def an_armature(one: bpy.types.Armature) -> list[Any]:
    return [(bone.name, plain(bone.head_local), plain(bone.tail_local), custom(bone)) for bone in one.bones]


def a_scene(one: bpy.types.Scene) -> list[Any]:
    tree = import_module(f"{ADDON}.compat").compositor_tree(one)
    render = [plain(getattr(one.render, name)) for name in PICTURE]
    seen = one.frame_current, one.view_settings.view_transform, named(one.camera), named(one.world)
    passes = [(layer.name, layer.use_pass_z, layer.use_pass_mist) for layer in one.view_layers]
    return [settings(one.avatar), render, seen, passes, a_collection(one.collection), a_tree(tree) if tree else None]


def a_collection(one: bpy.types.Collection) -> list[Any]:
    return [sorted(one.children.keys()), sorted(one.objects.keys())]


def a_tree(one: Any) -> list[Any]:
    links = [(link.from_node.name, link.from_socket.name, link.to_node.name, link.to_socket.name) for link in one.links]
    nodes = [(node.bl_idname, node.name, named(getattr(node, "image", None))) for node in one.nodes]
    return [sorted(nodes), sorted(links)]


def an_image(one: bpy.types.Image) -> list[Any]:
    return [one.source, one.filepath, one.packed_file.data[:64] if one.packed_file is not None else b""]


def shape_keys(one: bpy.types.Key) -> list[Any]:
    return [(block.name, plain(block.value)) for block in one.key_blocks]


def animation(block: Any) -> list[Any]:
    """The keys of a data-block, and its drivers."""
    data = getattr(block, "animation_data", None)
    if data is None:
        return []
    keys = [
        (one.data_path, one.array_index, [plain(point.co) for point in one.keyframe_points]) for one in curves(data)
    ]
    return [sorted(keys), sorted((driver.data_path, driver.array_index) for driver in data.drivers)]


def curves(data: bpy.types.AnimData) -> list[Any]:
    if data.action is None:
        return []
    if not hasattr(data, "action_slot"):  # before 4.4
        return list(data.action.fcurves)
    bags = [strip.channelbag(data.action_slot) for layer in data.action.layers for strip in layer.strips]
    return [curve for bag in bags if bag is not None for curve in bag.fcurves]


_READ: dict[str, Any] = {
    "scenes": a_scene,
    "objects": an_object,
    "armatures": an_armature,
    "collections": a_collection,
    "images": an_image,
    "node_groups": a_tree,
    "shape_keys": shape_keys,
    "meshes": lambda one: [len(one.vertices), len(one.polygons), [named(skin) for skin in one.materials]],
    "cameras": lambda one: [plain(getattr(one, name)) for name in ("sensor_width", "shift_x", "shift_y", "lens")],
}
