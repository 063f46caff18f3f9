"""What artists do with the avatars' passes in Blender's compositor."""

from __future__ import annotations

import tempfile
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import Any

import bpy
import edges
import numpy as np
import shot
from pictures import ADDON, still


def two_avatars(actor: Path) -> tuple[bpy.types.Scene, list[bpy.types.Object]]:
    """The scene, and two avatars that overlap in its picture."""
    shot.build(actor, {**shot.DEFAULTS, "bare": True})
    assert bpy.ops.avatar.load_actor(filepath=str(actor)) == {"FINISHED"}
    scene = bpy.context.scene
    scene.timeline_markers.clear()
    scene.camera = bpy.data.objects["A"]
    second = bpy.context.object
    second.location, second.avatar.quality = (0.25, 0.5, 0.1), "draft"
    assert bpy.ops.avatar.setup_compositing() == {"FINISHED"}  # Refresh
    return scene, import_module(f"{ADDON}.properties").actor_objects(scene)


def add_matte(scene: bpy.types.Scene, names: str) -> Any:
    """Blender's Cryptomatte node over the avatars, with these objects picked."""
    tree = import_module(f"{ADDON}.compat").compositor_tree(scene)
    node = tree.nodes.new("CompositorNodeCryptomatteV2")
    node.source, node.scene = "RENDER", scene.avatar.avatars
    node.layer_name, node.matte_id = f"{scene.avatar.avatars.view_layers[0].name}.CryptoObject", names
    return node


def case_cryptomatte_is_picked_by_name(actor: Path) -> None:
    """Blender's own node finds each of two overlapping avatars, and both together."""
    scene, avatars = two_avatars(actor)
    layer = import_module(f"{ADDON}.compositor").avatar_layer(scene)
    names = import_module(f"{ADDON}.properties").mask_names(scene)
    masks = [still(scene, layer.outputs[names[avatar.name]])[..., 0] for avatar in avatars]
    assert min((mask > 0.5).sum() for mask in masks) > 50 and ((masks[0] > 0) & (masks[1] > 0)).any()
    for avatar, mask in zip(avatars, masks):
        matte = add_matte(scene, avatar.name).outputs["Matte"]
        np.testing.assert_allclose(still(scene, matte)[..., 0], mask, atol=1e-6)
    both = add_matte(scene, ", ".join(avatar.name for avatar in avatars)).outputs["Matte"]
    np.testing.assert_allclose(still(scene, both)[..., 0], masks[0] + masks[1], atol=1e-6)


def case_baked_pictures_have_the_same_passes(actor: Path) -> None:
    """Masks, Cryptomatte and the merged picture are the same from files, and live again afterwards."""
    scene, avatars = two_avatars(actor)
    baked, compositor = import_module(f"{ADDON}.baked"), import_module(f"{ADDON}.compositor")
    mask = import_module(f"{ADDON}.properties").mask_names(scene)[avatars[1].name]
    matte = add_matte(scene, avatars[1].name)

    def shown() -> list[np.ndarray]:
        source = baked.source(scene) or compositor.avatar_layer(scene)
        return [still(scene, socket) for socket in (None, source.outputs[mask], matte.outputs["Matte"])]

    live = shown()
    assert (live[1][..., 0] > 0.5).sum() > 50
    with tempfile.TemporaryDirectory() as folder:
        pattern = str(Path(folder) / "avatars_####")
        assert import_module(f"{ADDON}.cli").run(["bake", "--frames", "1", "--output", pattern]) == 0
        assert bpy.ops.avatar.use_baked(filepath=str(baked.first(pattern))) == {"FINISHED"}
        assert matte.source == "IMAGE"
        for before, now in zip(live, shown()):
            np.testing.assert_allclose(now, before, atol=1e-6)
    assert bpy.ops.avatar.render_again() == {"FINISHED"}
    for before, now in zip(live, shown()):
        np.testing.assert_allclose(now, before, atol=1e-6)


def case_pictures_of_before_there_was_a_box_are_merged_all_over(actor: Path) -> None:
    """Baked by an older extension, whose passes had no Box: the picture is the same, and so it is live again."""
    scene, _ = two_avatars(actor)
    live, blend, pattern = still(scene), actor.with_name("shot.blend"), str(actor.with_name("avatars_####"))
    bpy.ops.wm.save_as_mainfile(filepath=str(blend))
    box = import_module(f"{ADDON}.box")
    usual, box.PASS = box.PASS, "Unknown"
    try:
        assert import_module(f"{ADDON}.cli").run(["bake", "--frames", "1", "--output", pattern]) == 0
    finally:
        box.PASS = usual
    bpy.ops.wm.open_mainfile(filepath=str(blend))
    scene = bpy.context.scene
    told = import_module(f"{ADDON}.compositor").merge_node(scene).inputs[f"Avatars {usual}"]
    assert bpy.ops.avatar.use_baked(filepath=pattern.replace("####", "0001.exr")) == {"FINISHED"}
    assert not told.links and usual not in import_module(f"{ADDON}.baked").source(scene).outputs
    np.testing.assert_allclose(still(scene), live, atol=1e-6)
    assert bpy.ops.avatar.render_again() == {"FINISHED"}
    assert told.links
    np.testing.assert_allclose(still(scene), live, atol=1e-6)


def case_limbs_are_a_pass(actor: Path) -> None:
    """Where an actor knows its limbs, the number of the one that shows; of the avatar that is in front."""
    scene, avatars = two_avatars(actor)
    avatars[0].avatar.limbs = True
    assert bpy.ops.avatar.setup_compositing() == {"FINISHED"}  # Refresh
    session = import_module(f"{ADDON}.session")
    real = session.Session.render

    def with_limbs(self: Any, *rest: Any) -> Any:
        planes = real(self, *rest)
        return replace(planes, limb=3 * (planes.mask > 0).astype(np.float32))

    session.Session.render = with_limbs
    try:
        layer = import_module(f"{ADDON}.compositor").avatar_layer(scene)
        limb, alpha = (still(scene, layer.outputs[name])[..., 0] for name in ("Limb", "Alpha"))
    finally:
        session.Session.render = real
    assert (limb == 3).sum() > 100 and set(np.unique(limb)) == {0, 3}
    np.testing.assert_array_equal(limb[alpha > 0.99], 3)


def case_edges_in_front_of_an_avatar_have_no_fringe(actor: Path) -> None:
    """Dark bars before an avatar before a bright sky, against Cycles rendering all of it at once."""
    scene, layer = edges.stage(actor)
    made, truth, compared, edge = edges.render(scene, layer)
    assert edge.sum() > 200
    fringe, left = (np.abs(picture - truth)[edge].mean() for picture in (compared, made))
    assert fringe > 0.05 and left < 0.15 * fringe, (fringe, left)
    assert np.quantile(np.abs(made - truth)[~edge], 0.9995) < 0.02
    scene.render.film_transparent = True
    made, truth, _, _ = edges.render(scene, layer)
    assert np.quantile(np.abs(made - truth), 0.9995) < 0.02


def case_the_box_of_the_avatars_changes_nothing(actor: Path) -> None:
    """The merge looks at that part of the frame only, and gives what all of it would: at its borders, too."""
    scene, layer = edges.stage(actor)
    scene.cycles.samples = 4
    merge = import_module(f"{ADDON}.compositor").merge_node(scene)
    tree, box = import_module(f"{ADDON}.compat").compositor_tree(scene), merge.inputs["Avatars Box"]
    nothing = replace(layer, rgba=0 * layer.rgba, depth=np.full_like(layer.depth, 1e10), mask=0 * layer.mask)
    for planes, width, height in ((layer, 200, 240), (layer, 131, 197), (layer, 90, 66), (nothing, 66, 53)):
        part = (slice(0, height), slice(0, width))
        cut = replace(planes, **{name: getattr(planes, name)[part] for name in ("rgba", "depth", "normal", "mask")})
        scene.render.resolution_x, scene.render.resolution_y = width, height
        with edges.avatars_are(cut):
            source = box.links[0].from_socket
            in_box = [still(scene, shown) for shown in (None, merge.outputs["Mask"])]
            tree.links.remove(box.links[0])
            whole = [still(scene, shown) for shown in (None, merge.outputs["Mask"])]
            tree.links.new(source, box)
        shown = cut.rgba[..., 3:] > 0  # elsewhere the mask has nothing to say
        for found, wanted in zip(in_box, (whole[0], np.where(shown, whole[1], in_box[1]))):
            np.testing.assert_allclose(found, wanted, atol=1e-5)


def case_captured_colours_stay_beside_agx(actor: Path) -> None:
    """What the screen shows of an avatar is its picture, and of the set what AgX makes of it."""
    scene, layer = edges.stage(actor)
    scene.cycles.samples = 8
    random = np.random.default_rng(5)
    captured = random.uniform(0, 1, (*layer.rgba.shape[:2], 3))  # any colour of a display
    light = np.where(captured <= 0.04045, captured / 12.92, ((captured + 0.055) / 1.055) ** 2.4)
    alpha = layer.rgba[..., 3:]
    layer = replace(layer, rgba=np.concatenate([light * alpha, alpha], -1).astype(np.float32))
    inside, away = (erode(layer.rgba[..., 3] == value) for value in (1, 0))
    with edges.avatars_are(layer):
        unhidden = still(scene, import_module(f"{ADDON}.compositor").merge_node(scene).outputs["Mask"])[..., 0] == 1
    scene.view_settings.exposure = 0.5
    for view in ("AgX", "Filmic"):
        scene.view_settings.view_transform = view
        with edges.avatars_are(layer):
            usual = still(scene, display=True)
            assert bpy.ops.avatar.keep_colours() == {"FINISHED"}
            kept = still(scene, display=True)
            assert scene.view_settings.view_transform == "Standard"
            assert bpy.ops.avatar.keep_colours() == {"FINISHED"}
        assert (scene.view_settings.view_transform, scene.view_settings.exposure) == (view, 0.5)
        seen = inside & unhidden
        assert seen.sum() > 500
        assert np.abs(kept - usual)[seen, :3].max() > 20 / 255
        assert np.abs(kept[seen, :3] - captured[seen]).max() < 3 / 255
        assert np.abs(kept - usual)[away].max() < 2 / 255
    assert bpy.ops.avatar.keep_colours() == {"FINISHED"}
    assert bpy.ops.scene.new(type="LINK_COPY") == {"FINISHED"}  # whose nodes are made anew
    copy = next(found for found in bpy.data.scenes if found != scene and found.avatar.owner is None)
    with bpy.context.temp_override(scene=copy):
        assert bpy.ops.avatar.setup_compositing() == {"FINISHED"}
    of_set = import_module(f"{ADDON}.colours").view_of_set
    assert (of_set(scene), scene.view_settings.view_transform) == ("Filmic", "Standard")
    assert (of_set(copy), copy.view_settings.view_transform) == ("", "Filmic")


def erode(mask: np.ndarray) -> np.ndarray:
    """True where all of the 5 x 5 pixels around are."""
    around = np.lib.stride_tricks.sliding_window_view(np.pad(mask, 2, mode="edge"), (5, 5))
    return around.all((-1, -2))
