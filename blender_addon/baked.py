# SPDX-License-Identifier: GPL-3.0-or-later
"""Avatars from files: passes of all frames as EXR pictures, and the compositor that reads them instead of rendering.

A machine with the renderer bakes (`--command avatar bake`), any Blender then renders the shot, with or without the
extension's renderer. The pictures are the engine's own passes, 32 bits, uncropped, scene-linear and premultiplied.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import bpy

from . import compat, compositor
from .box import PASS
from .errors import SceneError

PATTERN = "//avatars/{name}_####"  # beside the .blend; {name}: the owner scene's
_TIMES = ("frame_start", "frame_offset", "frame_duration", "use_auto_refresh")
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


def first(pattern: str) -> Path:
    """The first picture of those that were written as `pattern`, such as //avatars/shot_####. Raises SceneError."""
    place = Path(bpy.path.abspath(pattern))
    stem = place.name.rstrip("#")
    found = sorted(path for path in place.parent.glob("*.exr") if path.stem.removeprefix(stem).isdigit())
    if not found:
        raise SceneError(f"There are no baked pictures {place}: run 'avatar bake' first.")
    return found[0]


def use(scene: bpy.types.Scene, chosen: Path, frames: Sequence[int] = ()) -> int:
    """Feeds the merge from baked pictures, `chosen` and those beside it; returns how many.

    frames: that are needed; all from the first picture to the last where none is named. Raises SceneError.
    """
    if not compositor.is_set_up(scene):
        raise SceneError(f"Scene '{scene.name}' does not render avatars: set up compositing first.")
    numbers = _numbers(chosen, frames)
    image = bpy.data.images.load(str(chosen), check_existing=False)
    _ = image.size[:]  # has Blender read it; only then it knows the type
    if image.type != "MULTILAYER":
        bpy.data.images.remove(image)
        raise SceneError(f"{chosen.name} has no passes: choose a picture that 'avatar bake' wrote.")
    image.source = "SEQUENCE"
    render_again(scene)  # from other pictures to these
    tree, node = compat.compositor_tree(scene), compositor.avatar_layer(scene)
    picture = compositor.mark(tree.nodes.new("CompositorNodeImage"))
    picture.image, picture.location, picture.label = image, node.location, "Baked Avatars"
    picture.frame_start, picture.frame_offset = numbers[0], numbers[0] - 1
    picture.frame_duration = numbers[-1] - numbers[0] + 1
    picture.use_auto_refresh = True
    _move_links(tree, node, picture)
    tree.nodes.remove(node)
    for matte in _mattes(tree, scene.avatar.avatars):
        _show(matte, "IMAGE", image)
        for name in _TIMES:
            setattr(matte, name, getattr(picture, name))
    return len(numbers)


def render_again(scene: bpy.types.Scene) -> None:
    """The opposite of `use`: the avatars' scene is rendered as before."""
    tree, picture = compat.compositor_tree(scene), source(scene)
    if picture is None:
        return
    node = compositor.layer_node(tree, scene.avatar.avatars)
    node.location = picture.location
    _move_links(tree, picture, node)
    merge = compositor.merge_node(scene)
    tree.links.new(compat.named(node.outputs, PASS), compat.named(merge.inputs, f"Avatars {PASS}"))
    for matte in _mattes(tree, picture.image):
        _show(matte, "RENDER", scene.avatar.avatars)
    tree.nodes.remove(picture)


def source(scene: bpy.types.Scene) -> Any:
    """The node that reads baked pictures, or None."""
    nodes = compositor.our_nodes(compat.compositor_tree(scene))
    return next((node for node in nodes if node.bl_idname == "CompositorNodeImage"), None)


def _mattes(tree: Any, source: Any) -> list[Any]:
    """The artist's Cryptomatte nodes that read `source`, a scene or an image."""
    nodes = [node for node in tree.nodes if node.bl_idname == "CompositorNodeCryptomatteV2"]
    return [node for node in nodes if source == (node.scene if node.source == "RENDER" else node.image)]


def _show(matte: Any, kind: str, source: Any) -> None:
    """Another source for a Cryptomatte node; what it has picked stays."""
    picked = matte.matte_id
    matte.source = kind
    setattr(matte, "scene" if kind == "RENDER" else "image", source)
    matte.matte_id = picked


def _move_links(tree: Any, old: Any, new: Any) -> None:
    """Raises SceneError where `new` lacks an output that is used."""
    back = {theirs: ours for ours, theirs in _PASSES.items()}
    links = [(output.name, link.to_socket) for output in old.outputs for link in output.links]
    for name, target in links:
        wanted = _PASSES.get(name, name) if new.bl_idname == "CompositorNodeImage" else back.get(name, name)
        try:
            tree.links.new(compat.named(new.outputs, wanted), target)
        except KeyError:
            if wanted == PASS:  # older pictures have none, and are merged all over the frame
                continue
            tree.nodes.remove(new)
            raise SceneError(f"The baked pictures have no pass '{wanted}', which the compositor uses.") from None


def _numbers(chosen: Path, frames: Sequence[int]) -> list[int]:
    """The frames that there are beside `chosen`. Raises SceneError where one of `frames`, or of their range, lacks."""
    stem = chosen.stem.rstrip("0123456789")
    if stem == chosen.stem or not chosen.is_file():
        raise SceneError(f"{chosen} is no numbered picture: choose one that 'avatar bake' wrote.")
    beside = (
        path.stem.removeprefix(stem) for path in chosen.parent.glob(f"*{chosen.suffix}") if path.stem.startswith(stem)
    )
    found = sorted({int(number) for number in beside if number.isdigit()})
    missing = sorted(set(frames or range(found[0], found[-1] + 1)) - set(found))
    if missing:
        raise SceneError(f"Frame {missing[0]} is missing beside {chosen.name}: bake again with --resume.")
    return found
