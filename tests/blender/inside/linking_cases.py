"""Avatars that other .blend files hold: appended, linked, posed by an override."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

import bpy
import numpy as np
from avatars import activate, add_codes, avatars, controls, empty, failure, file_of, load, part

SHOULDER, ANGLE = "left_shoulder", 0.7


def case_appended_actor_is_whole(actor: Path) -> None:
    """Its relative path leads to the same file from another folder; its body is its own, and nothing is doubled."""
    blend = library(actor)
    other = actor.parent / "other"
    other.mkdir()
    bpy.ops.wm.save_as_mainfile(filepath=str(other / "shot.blend"))
    for _ in range(2):
        with bpy.data.libraries.load(str(blend)) as (_, here):
            here.collections = ["tiny"]
        bpy.context.scene.collection.children.link(here.collections[0])
    assert len(avatars()) == 2 and len({part("properties").body_mesh(rig) for rig in avatars()}) == 2
    for rig in avatars():
        assert part("properties").body_mesh(rig).find_armature() == rig and rig.library is None
        if hasattr(bpy.app.handlers, "blend_import_post"):
            assert rig.avatar.actor_path == "//../tiny.actor" and file_of(rig) == actor
    activate(avatars()[0])
    turned = np.array(controls()["pose"])
    assert abs(np.abs(turned).max() - ANGLE) < 1e-4, "posed as it was"
    bpy.ops.wm.save_mainfile()
    bpy.ops.wm.open_mainfile(filepath=str(other / "shot.blend"))
    assert np.array_equal(controls(avatars()[0])["pose"], turned)


def case_linked_actor_is_posed_by_an_override(actor: Path) -> None:
    blend = library(actor)
    other = actor.parent / "other"
    other.mkdir()
    bpy.ops.wm.save_as_mainfile(filepath=str(other / "shot.blend"))
    with bpy.data.libraries.load(str(blend), link=True) as (_, here):
        here.collections = ["tiny"]
    scene = bpy.context.scene
    scene.collection.children.link(here.collections[0])
    linked = avatars()[0]
    assert linked.library is not None and file_of(linked) == actor
    assert abs(np.abs(controls(linked)["pose"]).max() - ANGLE) < 1e-4
    assert 0.02 < np.mean(np.array(rendered())[3::4] > 0.5) < 0.9, "the linked avatar is in the picture"
    assert bpy.ops.avatar.remove_compositing() == {"FINISHED"}
    activate(linked)
    for name in ("import_motion", "bake_motion", "stand_in", "fit_bones", "sample_person", "pack_actor", "find_actor"):
        assert "press Pose Linked Avatar Here first" in failure(getattr(bpy.ops.avatar, name)), name
    assert bpy.ops.avatar.pose_here() == {"FINISHED"}
    (rig,) = part("properties").actor_objects(scene)
    body = part("properties").body_mesh(rig)
    assert file_of(rig) == actor and body.override_library is not None and body.find_armature() == rig
    rig.pose.bones[SHOULDER].rotation_quaternion = (1, 0, 0, 0)
    rig.pose.bones["head"].rotation_quaternion = (0.8, 0.6, 0, 0)
    rig.avatar.quality, rig["shape"][1] = "draft", 0.25
    body.data.shape_keys.key_blocks["beta_00"].value = 0.5
    bpy.ops.wm.save_mainfile()
    bpy.ops.wm.open_mainfile(filepath=str(other / "shot.blend"))
    (rig,) = part("properties").actor_objects(bpy.context.scene)
    posed = np.array(controls(rig)["pose"])
    assert abs(np.abs(posed).max() - 2 * np.arccos(0.8)) < 1e-4, "the override's pose is kept"
    assert rig.avatar.quality == "draft" and file_of(rig) == actor
    assert list(rig["shape"]) == [0, 0.25, 0, 0] and controls(rig)["betas"][0] == 0.5, "sliders are kept"
    moved = actor.with_name("moved.actor")
    shutil.copy(actor, moved)
    rig.avatar.actor_path = "//../moved.actor"  # of the open file, not of the library's
    assert file_of(rig).resolve() == moved


def case_instance_of_a_linked_collection_becomes_an_avatar(actor: Path) -> None:
    """What File > Link makes: an empty that shows the collection. The avatar stands where the empty stood."""
    blend = library(actor)
    bpy.ops.wm.save_as_mainfile(filepath=str(actor.with_name("shot.blend")))
    with bpy.data.libraries.load(str(blend), link=True) as (_, here):
        here.collections = ["tiny"]
    shown = bpy.data.objects.new("tiny", None)
    shown.instance_type, shown.instance_collection, shown.location = "COLLECTION", here.collections[0], (1, 2, 3)
    bpy.context.scene.collection.objects.link(shown)
    activate(shown)
    bpy.context.view_layer.update()
    assert bpy.ops.avatar.pose_here() == {"FINISHED"}
    (rig,) = part("properties").actor_objects(bpy.context.scene)
    bpy.context.view_layer.update()
    assert rig.matrix_world.translation.to_tuple(4) == (1, 2, 3) and rig.library is None
    assert not [found for found in bpy.context.scene.objects if found.type == "EMPTY"]
    assert controls(rig)["pose"]


def case_packed_actor_travels_with_its_library(actor: Path) -> None:
    load(actor)
    bpy.ops.avatar.pack_actor()
    blend = actor.with_name("library.blend")
    bpy.ops.wm.save_as_mainfile(filepath=str(blend))
    data = actor.read_bytes()
    actor.unlink()
    for link in (False, True):
        empty()
        with bpy.data.libraries.load(str(blend), link=link) as (_, here):
            here.collections = ["tiny"]
        bpy.context.scene.collection.children.link(here.collections[0])
        assert file_of(avatars()[0]).read_bytes() == data, link


def library(actor: Path) -> Path:
    """A .blend beside the actor with its collection, one bone posed; the open file is empty again."""
    blend = actor.with_name("library.blend")
    bpy.ops.wm.save_as_mainfile(filepath=str(blend))
    rig = load(actor)
    assert rig.avatar.actor_path == "//tiny.actor"
    add_codes(rig)
    rig.pose.bones[SHOULDER].rotation_quaternion = (np.cos(ANGLE / 2), 0, 0, np.sin(ANGLE / 2))
    bpy.ops.wm.save_mainfile()
    empty()
    return blend


def rendered() -> list[float]:
    """The colours of the set with its avatars, as small as a picture can be; the camera sees all of the body."""
    scene = bpy.context.scene
    scene.render.engine, scene.render.resolution_x, scene.render.resolution_y = "CYCLES", 16, 16
    scene.render.film_transparent, scene.cycles.samples, scene.cycles.use_denoising = True, 1, False
    camera = bpy.data.objects.new("camera", bpy.data.cameras.new("camera"))
    scene.collection.objects.link(camera)
    camera.location, camera.rotation_euler, scene.camera = (0, -4, -0.2), (np.pi / 2, 0, 0), camera
    assert bpy.ops.avatar.setup_compositing() == {"FINISHED"}
    with tempfile.TemporaryDirectory(dir=Path(bpy.data.filepath).parent) as folder:
        scene.render.filepath = str(Path(folder) / "still.png")
        bpy.ops.render.render(write_still=True)
        assert part("failures").found() == []
        image = bpy.data.images.load(scene.render.filepath)
        return list(image.pixels)
