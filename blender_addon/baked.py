# SPDX-License-Identifier: GPL-3.0-or-later
"""Avatars from files: passes of all frames as EXR pictures, and the compositor that reads them instead of rendering.

A machine with the renderer bakes (`--command avatar bake`), any Blender then renders the shot, with or without the
extension's renderer. The pictures are the engine's own passes, 32 bits, uncropped, scene-linear and premultiplied.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import bpy

from . import compat, compositor
from .errors import SceneError

PATTERN = "//avatars/{name}_####"  # beside the .blend; {name}: the owner scene's
_PASSES = {"Image": "Combined"}  # outputs that a picture's node names in another way


def prepare(scene: bpy.types.Scene) -> bpy.types.Scene:
    """Has the scene of avatars of `scene` write its passes at the owner's size; returns it. Raises SceneError."""
    avatars = scene.avatar.avatars
    if not compositor.is_set_up(scene) or avatars is None:
        raise SceneError(f"Scene '{scene.name}' is not set up: press Set Up Compositing and save.")
    ours, theirs = avatars.render, scene.render
    for name in ("resolution_x", "resolution_y", "resolution_percentage", "pixel_aspect_x", "pixel_aspect_y"):
        setattr(ours, name, getattr(theirs, name))
    for render in (ours, theirs):  # the engine reads the owner's
        render.use_border = render.use_crop_to_border = False
    ours.use_compositing = False
    compat.write_passes(ours)
    ours.filepath = PATTERN.format(name=bpy.path.clean_name(scene.name))
    return avatars


def use(scene: bpy.types.Scene, first: Path) -> int:
    """Feeds the merge from baked pictures, of which `first` is one; returns how many there are. Raises SceneError."""
    tree, node = compat.compositor_tree(scene), compositor.avatar_layer(scene)
    if node is None:
        raise SceneError(f"Scene '{scene.name}' does not render avatars: set up compositing first.")
    numbers = _numbers(first)
    image = bpy.data.images.load(str(first), check_existing=False)
    _ = image.size[:]  # has Blender read it; only then it knows the type
    if image.type != "MULTILAYER":
        bpy.data.images.remove(image)
        raise SceneError(f"{first.name} has no passes: choose a picture that 'avatar bake' wrote.")
    image.source = "SEQUENCE"
    picture = compositor.mark(tree.nodes.new("CompositorNodeImage"))
    picture.image, picture.location, picture.label = image, node.location, "Baked Avatars"
    picture.frame_start, picture.frame_offset = numbers[0], numbers[0] - 1
    picture.frame_duration = numbers[-1] - numbers[0] + 1
    picture.use_auto_refresh = True
    _move_links(tree, node, picture)
    tree.nodes.remove(node)
    return len(numbers)


def render_again(scene: bpy.types.Scene) -> None:
    """The opposite of `use`: the avatars' scene is rendered as before."""
    tree, picture = compat.compositor_tree(scene), source(scene)
    if picture is None:
        return
    node = compositor.layer_node(tree, scene.avatar.avatars)
    node.location = picture.location
    _move_links(tree, picture, node)
    tree.nodes.remove(picture)


def source(scene: bpy.types.Scene) -> Any:
    """The node that reads baked pictures, or None."""
    nodes = compositor.our_nodes(compat.compositor_tree(scene))
    return next((node for node in nodes if node.bl_idname == "CompositorNodeImage"), None)


def _move_links(tree: Any, old: Any, new: Any) -> None:
    """Raises SceneError where `new` lacks an output that is used."""
    back = {theirs: ours for ours, theirs in _PASSES.items()}
    links = [(output.name, link.to_socket) for output in old.outputs for link in output.links]
    for name, target in links:
        wanted = _PASSES.get(name, name) if new.bl_idname == "CompositorNodeImage" else back.get(name, name)
        try:
            tree.links.new(compat.named(new.outputs, wanted), target)
        except KeyError:
            tree.nodes.remove(new)
            raise SceneError(f"The baked pictures have no pass '{wanted}', which the compositor uses.") from None


def _numbers(first: Path) -> list[int]:
    """The frames that there are beside `first`, without a gap. Raises SceneError."""
    stem = first.stem.rstrip("0123456789")
    if stem == first.stem or not first.is_file():
        raise SceneError(f"{first} is no numbered picture: choose one that 'avatar bake' wrote.")
    beside = (
        path.stem.removeprefix(stem) for path in first.parent.glob(f"*{first.suffix}") if path.stem.startswith(stem)
    )
    found = sorted({int(number) for number in beside if number.isdigit()})
    missing = sorted(set(range(found[0], found[-1] + 1)) - set(found))
    if missing:
        raise SceneError(f"Frame {missing[0]} is missing beside {first.name}: bake again with --resume.")
    return found
