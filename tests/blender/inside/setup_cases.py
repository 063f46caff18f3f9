"""What Set Up Compositing makes of a scene, and takes back."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import Any

import bpy
import shot
from pictures import ADDON, render_error


def case_set_up_is_reversible(actor: Path) -> None:
    """Compositor, layers, scenes and groups are what they were: fresh, graded, and switched off."""
    for arrange in (lambda scene: None, _grade, _grade_and_switch_off):
        shot.build(actor, {**shot.DEFAULTS, "set_up": False})
        scene = bpy.context.scene
        arrange(scene)
        before = _picture_of(scene)
        assert bpy.ops.avatar.setup_compositing() == {"FINISHED"}
        assert bpy.ops.avatar.setup_compositing() == {"FINISHED"}  # again: a refresh, not a second merge
        assert _picture_of(scene) != before
        assert bpy.ops.avatar.remove_compositing() == {"FINISHED"}
        after = _picture_of(scene)
        if arrange.__name__ == "<lambda>" and bpy.app.version < (5, 0, 0):
            for name in ("nodes", "links"):  # Blender 4 makes its default nodes, and keeps them switched off
                before.pop(name), after.pop(name)
        assert before == after, (before, after)
        assert render_error() == ""


def case_copied_scene_gets_avatars_of_its_own(actor: Path) -> None:
    shot.build(actor, {**shot.DEFAULTS})
    first = bpy.context.scene
    assert bpy.ops.scene.new(type="LINK_COPY") == {"FINISHED"}
    second = next(s for s in bpy.data.scenes if s != first and s.avatar.owner is None)
    with bpy.context.temp_override(scene=second):
        assert bpy.ops.avatar.setup_compositing() == {"FINISHED"}
    assert first.avatar.avatars != second.avatar.avatars
    assert second.avatar.avatars.avatar.owner == second and first.avatar.avatars.avatar.owner == first
    with bpy.context.temp_override(scene=second):
        assert bpy.ops.avatar.remove_compositing() == {"FINISHED"}
    assert first.avatar.avatars is not None
    assert import_module(f"{ADDON}.compositor").is_set_up(first)
    assert render_error() == ""


def case_merge_keeps_what_the_artist_graded(actor: Path) -> None:
    """The group goes between the artist's nodes and the output."""
    shot.build(actor, {**shot.DEFAULTS, "set_up": False})
    scene = bpy.context.scene
    blur = _grade(scene)
    assert bpy.ops.avatar.setup_compositing() == {"FINISHED"}
    compat = import_module(f"{ADDON}.compat")
    group = compat.output_socket(compat.compositor_tree(scene)).links[0].from_node
    assert group.bl_idname == "CompositorNodeGroup"
    assert compat.named(group.inputs, "Scene").links[0].from_node.name == blur


def case_two_actors_have_two_masks(actor: Path) -> None:
    shot.build(actor, {**shot.DEFAULTS})
    assert bpy.ops.avatar.load_actor(filepath=str(actor)) == {"FINISHED"}
    avatars = bpy.context.scene.avatar.avatars
    names = import_module(f"{ADDON}.properties").mask_names(avatars)
    assert len(set(names.values())) == 2, names
    compositor = import_module(f"{ADDON}.compositor")
    node = next(
        node
        for node in compositor.our_nodes(import_module(f"{ADDON}.compat").compositor_tree(bpy.context.scene))
        if node.bl_idname == "CompositorNodeRLayers" and node.scene == avatars
    )
    assert set(names.values()) <= {socket.name for socket in node.outputs}, [s.name for s in node.outputs]
    assert render_error() == ""


def _grade(scene: bpy.types.Scene) -> str:
    """A blur between render layers and output, and a viewer; returns the blur's name."""
    compat = import_module(f"{ADDON}.compat")
    tree = compat.make_compositor_tree(scene)
    tree.nodes.clear()
    layers, blur = tree.nodes.new("CompositorNodeRLayers"), tree.nodes.new("CompositorNodeBlur")
    viewer = tree.nodes.new("CompositorNodeViewer")
    compat.make_output(tree)
    tree.links.new(layers.outputs["Image"], blur.inputs["Image"])
    tree.links.new(blur.outputs["Image"], compat.output_socket(tree))
    tree.links.new(blur.outputs["Image"], viewer.inputs[0])
    return blur.name


def _grade_and_switch_off(scene: bpy.types.Scene) -> None:
    _grade(scene)
    import_module(f"{ADDON}.compat").drop_compositor_tree(scene)


def _picture_of(scene: bpy.types.Scene) -> dict[str, Any]:
    """Everything that set-up touches, comparable."""
    compat = import_module(f"{ADDON}.compat")
    tree = compat.compositor_tree(scene) or getattr(scene, "node_tree", None)
    return {
        "scenes": bpy.data.scenes.keys(),
        "groups": bpy.data.node_groups.keys(),
        "on": compat.compositor_tree(scene) is not None,
        "passes": {layer.name: (layer.use_pass_z, layer.use_pass_mist) for layer in scene.view_layers},
        "mist": [getattr(scene.world.mist_settings, key) for key in ("start", "depth", "falloff")],
        "nodes": sorted((node.bl_idname, node.name) for node in tree.nodes) if tree else [],
        "links": sorted(
            (link.from_node.name, link.from_socket.identifier, link.to_node.name, link.to_socket.identifier)
            for link in (tree.links if tree else [])
        ),
        "objects": sorted(scene.objects.keys()),
    }
