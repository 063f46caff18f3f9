"""An avatar over its life: libraries, packing, versions, other .blend files, undo, bone maps. Argument: the actor file.

Prints one line of JSON for each case.
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
import time
import traceback
from importlib import import_module
from pathlib import Path
from typing import Any

import bpy
import numpy as np

ADDON = "bl_ext.user_default.neural_avatars"
NOTHING_IN_THE_BLEND = {
    *("check_worker", "stop_worker", "copy_install", "install_renderer", "cancel_install"),
    *("export_motion", "save_bone_map"),
    *("refresh_library", "add_folder", "remove_folder"),
}
FIND_NOTHING_TO_DO = {"fit_bones", "apply_bone_map"}
KEPT = {"drive_armature", "pack_actor", "setup_compositing"}  # others undo what these did
SIDES = ("left", "right")
SHOULDER, ANGLE = "left_shoulder", 0.7


def main(arguments: list[str]) -> int:
    actor = Path(arguments[0])
    for name, work in [(n.removeprefix("case_"), w) for n, w in globals().items() if n.startswith("case_")]:
        error = ""
        with tempfile.TemporaryDirectory(dir=actor.parent) as folder:  # the worker sees it too
            own = Path(shutil.copy(actor, Path(folder) / "robin.actor"))
            empty()
            try:
                work(own)
            except Exception:
                error = traceback.format_exc()
        print("CASE " + json.dumps({"case": name, "error": error}), flush=True)
    part("session").current.close()
    return 0


def case_operators_tell_what_they_do_and_undo(actor: Path) -> None:
    """Every operator has a tooltip, says why it is grey, and is undone where it changes the .blend."""
    names = [name for name in dir(bpy.ops.avatar) if not name.startswith("_")]
    assert len(names) > 25, names
    for name in names:
        operator = getattr(bpy.ops.avatar, name)
        kind = operator.get_rna_type()
        assert len(kind.description) > 20 and not kind.description.endswith("."), name
        undone = "UNDO" in operator.bl_options
        assert undone == (name not in NOTHING_IN_THE_BLEND), f"{name}: undo is {undone}"
        for setting in kind.properties:
            hidden = setting.is_hidden or setting.identifier in ("rna_type", "filepath", "directory")
            assert hidden or setting.name, f"{name}.{setting.identifier} has no name"
        if not operator.poll():
            said = failure(operator)
            assert "poll() failed, context is incorrect" not in said, f"{name} does not say why it is grey"


def case_undo_restores_everything(actor: Path) -> None:
    """Each operator that changes the .blend, with what it needs; afterwards the worker still answers."""
    bpy.ops.wm.save_as_mainfile(filepath=str(actor.with_name("shot.blend")))
    first = load(actor).name
    add_codes(bpy.data.objects[first])
    steps: list[tuple[str, dict[str, Any]]] = [
        ("load_actor", {"filepath": str(actor)}),
        ("drive_armature", {"filepath": str(actor)}),
        ("apply_bone_map", {}),
        ("stand_in", {}),
        ("fit_bones", {}),
        ("live", {}),
        ("sample_person", {"seed": 2}),
        ("key_person", {}),
        ("pack_actor", {}),
        ("unpack_actor", {}),
        ("find_actor", {"filepath": str(shutil.copy(actor, actor.with_name("other.actor")))}),
        ("setup_compositing", {}),
        ("overscan", {"percent": 20}),
        ("keep_colours", {}),
        ("remove_compositing", {}),
        ("sample_motion", {"clip": "walk"}),
        ("bake_motion", {}),
    ]
    for name, options in steps:
        activate(bpy.data.objects[first])
        bpy.ops.ed.undo_push(message="before")
        before = state()
        assert getattr(bpy.ops.avatar, name)(**options) == {"FINISHED"}, name
        after = state()
        assert after != before or name in FIND_NOTHING_TO_DO, name
        bpy.ops.ed.undo_push(message=name)
        bpy.ops.ed.undo()
        assert state() == before, f"{name}: {state()} != {before}"
        bpy.ops.ed.redo()
        assert state() == after, f"{name}: {state()} != {after}"
        if name not in KEPT:
            bpy.ops.ed.undo()
    assert controls(bpy.data.objects[first])["pose"]


def case_packed_actor_needs_no_file(actor: Path) -> None:
    data, blend = actor.read_bytes(), actor.with_name("shot.blend")
    rig = load(actor)
    assert bpy.ops.avatar.pack_actor() == {"FINISHED"}
    assert bpy.ops.avatar.load_actor(filepath=str(actor)) == {"FINISHED"}
    second = activate(bpy.context.object)
    assert bpy.ops.avatar.pack_actor() == {"FINISHED"}
    assert second.avatar.packed == rig.avatar.packed, "the same bytes are kept once"
    bpy.ops.wm.save_as_mainfile(filepath=str(blend), compress=True)
    actor.unlink()
    bpy.ops.wm.open_mainfile(filepath=str(blend))
    rig = activate()
    found = file_of(rig)
    assert found.read_bytes() == data
    assert controls()["pose"]
    found.write_bytes(data[:-1] + b"?")  # somebody writes into the cache
    assert file_of(rig).read_bytes() == data
    stranger = actor.with_name("robin.actor")
    stranger.write_bytes(b"another")
    assert "is another actor already" in failure(bpy.ops.avatar.unpack_actor)
    assert rig.avatar.packed is not None and stranger.read_bytes() == b"another"
    stranger.unlink()
    assert bpy.ops.avatar.unpack_actor() == {"FINISHED"}
    assert stranger.read_bytes() == data and rig.avatar.packed is None and len(bpy.data.images) == 1
    assert rig.avatar.actor_path == "//robin.actor" and file_of(rig) == stranger
    rig = activate(next(found for found in avatars() if found.avatar.packed))
    assert bpy.ops.avatar.unpack_actor() == {"FINISHED"}, "the file is there already"
    assert not bpy.data.images, "nobody needs the bytes"


def case_what_was_unpacked_long_ago_goes(actor: Path) -> None:
    """When another actor is unpacked; what the open .blend needs stays, however old it is."""
    rigs = [load(actor), load(actor)]
    activate(rigs[0])
    assert bpy.ops.avatar.pack_actor() == {"FINISHED"}
    first, old = file_of(rigs[0]), time.time() - 100 * 86400
    stranger = first.with_name(f"{'0' * 64}.actor")
    stranger.write_bytes(b"of another .blend")
    for path in (first, stranger):
        os.utime(path, (old, old))
    with actor.open("ab") as file:
        file.write(b"trained a little longer")
    activate(rigs[1])
    assert bpy.ops.avatar.pack_actor() == {"FINISHED"}
    assert file_of(rigs[1]).read_bytes() == actor.read_bytes()
    assert first.is_file() and not stranger.exists()


def case_damaged_packed_bytes_are_refused(actor: Path) -> None:
    rig = load(actor)
    bpy.ops.avatar.pack_actor()
    image = rig.avatar.packed
    digest = image["avatar_sha256"]
    for wrong in ("0" * 64, "../../../etc/passwd", 3):
        image["avatar_sha256"] = wrong
        assert "is damaged" in refused(lambda: file_of(rig)), wrong
    image["avatar_sha256"] = digest
    assert file_of(rig).stem == digest


def case_missing_actor_is_found_again(actor: Path) -> None:
    """One sentence says what to press; all avatars that miss the same file follow, another skeleton is refused."""
    bpy.ops.wm.save_as_mainfile(filepath=str(actor.with_name("shot.blend")))
    first, second = load(actor), load(actor)
    (actor.parent / "moved").mkdir()
    moved = actor.rename(actor.parent / "moved" / "robin.actor")
    said = refused(lambda: part("session").current.actor(file_of(first)))
    assert str(actor) in said and "press Find Actor File" in said, said
    activate(first)
    first.avatar.licence = second.avatar.licence = "of another file"
    first.data.bones["head"].name = "skull"
    assert "lacks bones" in failure(lambda: bpy.ops.avatar.find_actor(filepath=str(moved)))
    first.data.bones["skull"].name = "head"
    assert bpy.ops.avatar.find_actor(filepath=str(moved)) == {"FINISHED"}
    assert first.avatar.actor_path == second.avatar.actor_path == "//moved/robin.actor"
    assert first.avatar.licence == second.avatar.licence == "CC0-1.0"


def case_files_of_an_earlier_version_are_migrated(actor: Path) -> None:
    """The first files had codes and limbs and did not say so."""
    blend, migration = actor.with_name("old.blend"), part("migration")
    rig = load(actor)
    rig["shape"], rig["appearance"], rig["note"] = [0.5] * 4, [0.0] * 3, "mine"
    rig.avatar.latents, rig.avatar.method, rig.avatar.limbs = "", "human_view_synthesis", False
    migration.unregister()  # as the add-on of then saved it
    rig.avatar.version = 0
    bpy.ops.wm.save_as_mainfile(filepath=str(blend))
    migration.register()
    bpy.ops.wm.open_mainfile(filepath=str(blend))
    rig = activate()
    assert (rig.avatar.version, rig.avatar.latents) == (part("properties").VERSION, "shape") and rig.avatar.limbs
    assert rig.is_property_overridable_library('["shape"]'), "where it is linked it can be changed"
    assert bpy.ops.avatar.sample_person() == {"FINISHED"}
    empty()
    if hasattr(bpy.app.handlers, "blend_import_post"):
        with bpy.data.libraries.load(str(blend)) as (there, here):
            here.objects = [name for name in there.objects if name == "robin_rig"]
        assert bpy.data.objects["robin_rig"].avatar.latents == "shape"


def case_files_of_a_newer_version_are_refused(actor: Path) -> None:
    rig = load(actor)
    assert bpy.ops.avatar.setup_compositing() == {"FINISHED"}
    rig.avatar.version = bpy.context.scene.avatar.version = 99
    bpy.ops.wm.save_as_mainfile(filepath=str(actor.with_name("new.blend")))
    bpy.ops.wm.open_mainfile(filepath=str(actor.with_name("new.blend")))
    rig, scene = activate(), bpy.context.scene
    assert rig.avatar.version == scene.avatar.version == 99, "saved as they were"
    for found in (rig, scene):
        said = refused(lambda found=found: part("properties").check_version(found))
        assert "newer version of Neural Avatars: update" in said
    assert "newer version" in refused(lambda: file_of(rig))


def case_appended_actor_is_whole(actor: Path) -> None:
    """Its relative path leads to the same file from another folder; its body is its own, and nothing is doubled."""
    blend = library(actor)
    other = actor.parent / "other"
    other.mkdir()
    bpy.ops.wm.save_as_mainfile(filepath=str(other / "shot.blend"))
    for _ in range(2):
        with bpy.data.libraries.load(str(blend)) as (_, here):
            here.collections = ["robin"]
        bpy.context.scene.collection.children.link(here.collections[0])
    assert len(avatars()) == 2 and len({part("properties").body_mesh(rig) for rig in avatars()}) == 2
    for rig in avatars():
        assert part("properties").body_mesh(rig).find_armature() == rig and rig.library is None
        if hasattr(bpy.app.handlers, "blend_import_post"):
            assert rig.avatar.actor_path == "//../robin.actor" and file_of(rig) == actor
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
        here.collections = ["robin"]
    scene = bpy.context.scene
    scene.collection.children.link(here.collections[0])
    linked = avatars()[0]
    assert linked.library is not None and file_of(linked) == actor
    assert abs(np.abs(controls(linked)["pose"]).max() - ANGLE) < 1e-4
    assert 0.02 < np.mean(np.array(rendered())[3::4] > 0.5) < 0.9, "the linked avatar is in the picture"
    assert bpy.ops.avatar.remove_compositing() == {"FINISHED"}
    activate(linked)
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
        here.collections = ["robin"]
    shown = bpy.data.objects.new("robin", None)
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
            here.collections = ["robin"]
        bpy.context.scene.collection.children.link(here.collections[0])
        assert file_of(avatars()[0]).read_bytes() == data, link


def case_saving_elsewhere_keeps_the_actor(actor: Path) -> None:
    bpy.ops.wm.save_as_mainfile(filepath=str(actor.with_name("shot.blend")))
    rig = load(actor)
    other = actor.parent / "other"
    other.mkdir()
    bpy.ops.wm.save_as_mainfile(filepath=str(other / "copy.blend"), copy=True)
    assert rig.avatar.actor_path == "//robin.actor" and file_of(rig) == actor, "the open file is where it was"
    bpy.ops.wm.save_as_mainfile(filepath=str(other / "moved.blend"))
    assert rig.avatar.actor_path == "//../robin.actor" and file_of(rig) == actor
    bpy.ops.wm.open_mainfile(filepath=str(other / "copy.blend"))
    assert file_of(avatars()[0]) == actor


def case_bone_map_is_saved_for_other_characters(actor: Path) -> None:
    """Names that say nothing: the map of one character drives the next one, twice as large."""
    first = load(actor)
    first.avatar.actor_path = ""  # a plain character now
    assert bpy.ops.avatar.drive_armature(filepath=str(actor)) == {"FINISHED"}
    renamed = {bone.name: f"B{i}" for i, bone in enumerate(first.data.bones)}
    kept = json.loads(first.avatar.joint_map)
    kept["bones"] = {joint: renamed[bone] for joint, bone in kept["bones"].items()}
    for bone in first.data.bones:
        bone.name = renamed[bone.name]
    first.avatar.joint_map = json.dumps(kept)
    assert bpy.ops.avatar.save_bone_map(name="crew/1") == {"FINISHED"}
    second = first.copy()
    second.data = first.data.copy()
    bpy.context.scene.collection.objects.link(second)
    second.avatar.actor_path = second.avatar.joint_map = ""
    second.scale = (2, 2, 2)
    activate(second)
    assert "No bone of" in failure(lambda: bpy.ops.avatar.drive_armature(filepath=str(actor)))
    assert bpy.ops.avatar.drive_armature(filepath=str(actor), bone_map="crew_1") == {"FINISHED"}
    for rig in (first, second):
        rig.pose.bones[renamed[SHOULDER]].rotation_quaternion = (np.cos(0.3), 0, 0, np.sin(0.3))
    np.testing.assert_allclose(controls(second)["pose"], controls(first)["pose"], atol=1e-5)
    second.data.bones[renamed["head"]].name = "gone"
    assert "lacks bones of this map (" in failure(lambda: bpy.ops.avatar.apply_bone_map(bone_map="crew_1"))
    folder = part("bone_maps")._folder(create=True)
    (folder / "bad.json").write_text("[1]")
    assert "is damaged" in failure(lambda: bpy.ops.avatar.apply_bone_map(bone_map="bad"))


def case_bones_are_told_where_their_names_say_nothing(actor: Path) -> None:
    """The parts of a body, one by one; the rest follows from where they are."""
    rig = load(actor)
    rig.avatar.actor_path = ""  # a plain character now
    assert bpy.ops.avatar.drive_armature(filepath=str(actor)) == {"FINISHED"}
    by_name = json.loads(rig.avatar.joint_map)["bones"]
    rig.avatar.actor_path = rig.avatar.joint_map = ""
    for index, bone in enumerate(rig.data.bones):
        bone["was"], bone.name = bone.name, f"B{index}"
    assert "say in Pose Mode which it is" in failure(lambda: bpy.ops.avatar.drive_armature(filepath=str(actor)))
    bpy.ops.object.mode_set(mode="POSE")
    limbs = ("collar", "shoulder", "elbow", "wrist", "hip", "knee", "ankle", "foot")
    parts = ("collar", "upper_arm", "forearm", "hand", "thigh", "shin", "foot", "toes")
    wanted = {f"{word}_{limb}": f"{part}.{word[0].upper()}" for word in SIDES for limb, part in zip(limbs, parts)}
    wanted |= {"neck": "neck", "head": "head"}
    for bone in rig.data.bones:
        if bone["was"] in wanted:
            rig.data.bones.active = bone
            assert bpy.ops.avatar.tell_bone(part=wanted[bone["was"]]) == {"FINISHED"}
    bpy.ops.object.mode_set(mode="OBJECT")
    assert bpy.ops.avatar.drive_armature(filepath=str(actor)) == {"FINISHED"}
    told = json.loads(rig.avatar.joint_map)["bones"]
    found = {joint: rig.data.bones[bone]["was"] for joint, bone in told.items()}
    more = {f"{side}_foot": f"{side}_foot" for side in SIDES}  # SMPL calls the toes so: names alone mislead
    assert found == by_name | more, found.items() ^ by_name.items()
    bpy.ops.object.mode_set(mode="POSE")
    try:
        bpy.ops.avatar.tell_bone(part="index_1.L")
    except TypeError:
        pass
    else:
        raise AssertionError("fingers are offered for an actor that has none")
    rig.data.bones.active = rig.data.bones[told["head"]]
    before = rig.avatar.joint_map
    assert bpy.ops.avatar.tell_bone(part="neck") == {"FINISHED"}, "no head: the former map stays"
    assert rig.avatar.joint_map == before
    assert bpy.ops.avatar.tell_bone(part="head") == {"FINISHED"}
    after = json.loads(rig.avatar.joint_map)["bones"]
    assert after["head"] == told["head"] and len(after) >= len(told) - 1, "the neck is told to be nothing now"


def case_library_shows_actors_with_their_pictures(actor: Path) -> None:
    """Of the user's folder and others; files that are no actors have none, and a click loads."""
    library_, thumbnails = part("library"), part("thumbnails")
    raw = actor.read_bytes()
    (actor.with_name("empty.actor")).write_bytes(b"")
    (actor.with_name("cut.actor")).write_bytes(raw[: len(raw) - 100])
    header = json.loads(raw[8 : 8 + int.from_bytes(raw[:8], "little")])
    for name, entry in (
        ("huge", {"dtype": "U8", "shape": [1 << 20, 1 << 20, 4], "data_offsets": [0, 1 << 42]}),
        ("odd", {"dtype": "U8", "shape": [True, 4, 4], "data_offsets": [0, 16]}),
        ("list", []),
    ):
        text = json.dumps({**header, "preview": entry}).encode()
        (actor.with_name(f"{name}.actor")).write_bytes(len(text).to_bytes(8, "little") + text + b"0" * 64)
    found = {entry.path.stem: entry.picture for entry in thumbnails.find([actor.parent, actor.parent / "nowhere"])}
    assert [name for name, picture in found.items() if picture is not None] == ["robin"], found.keys()
    assert len(found) == 6 and found["robin"].shape == (256, 256, 4) and np.ptp(found["robin"][..., 3]) == 255
    assert bpy.ops.avatar.add_folder(directory=str(actor.parent)) == {"FINISHED"}
    looked()
    icon = library_.shelf.icons[str(actor)]
    assert tuple(icon.image_size) == (256, 256)
    shown = np.array(icon.image_pixels[:], np.int32).view(np.uint8).reshape(256, 256, 4)
    assert np.array_equal(shown[::-1], found["robin"])
    own = library_.own_folder()
    assert own.is_dir() and own in library_.shelf.folders
    load(actor)  # the worker has told by now where its own actors are
    assert Path(part("session").current.shipped_actors).name == "actors"
    assert Path(part("session").current.shipped_actors) in library_.folders()
    preferences = bpy.context.preferences.addons[ADDON].preferences
    bpy.ops.avatar.remove_folder(index=len(preferences.actor_folders) - 1)
    looked()
    assert actor.parent not in library_.shelf.folders


def case_dropped_files_load_where_they_are_dropped(actor: Path) -> None:
    """What Blender calls when a file is dropped, as far as that goes without a window."""
    handler = part("library").AVATAR_FH_actor
    assert handler.bl_import_operator == "avatar.load_actor" and handler.bl_file_extensions == ".actor"
    assert not handler.poll_drop(bpy.context), "only into the 3D view"
    assert bpy.ops.avatar.load_actor(filepath=str(actor), location=(1, 2, 3), standing=True) == {"FINISHED"}
    rig = bpy.context.object
    bpy.context.view_layer.update()
    lowest = min((rig.children[0].matrix_world @ corner.co).z for corner in rig.children[0].data.vertices)
    assert abs(lowest - 3) < 1e-4 and rig.location.to_tuple(4)[:2] == (1, 2), (lowest, rig.location)


def library(actor: Path) -> Path:
    """A .blend beside the actor with its collection, one bone posed; the open file is empty again."""
    blend = actor.with_name("library.blend")
    bpy.ops.wm.save_as_mainfile(filepath=str(blend))
    rig = load(actor)
    assert rig.avatar.actor_path == "//robin.actor"
    add_codes(rig)
    rig.pose.bones[SHOULDER].rotation_quaternion = (np.cos(ANGLE / 2), 0, 0, np.sin(ANGLE / 2))
    bpy.ops.wm.save_mainfile()
    empty()
    return blend


def load(actor: Path) -> Any:
    assert bpy.ops.avatar.load_actor(filepath=str(actor)) == {"FINISHED"}
    return activate(bpy.context.object)


def avatars() -> list[Any]:
    return sorted((found for found in bpy.data.objects if found.avatar.actor_path), key=lambda found: found.name)


def activate(rig: Any = None) -> Any:
    rig = rig or avatars()[0]
    bpy.context.view_layer.objects.active = rig
    return rig


def file_of(rig: Any) -> Path:
    return part("properties").actor_file(rig)


def controls(rig: Any = None) -> dict[str, Any]:
    """What the renderer is asked for; the worker reads the actor for it."""
    rig = rig or bpy.context.object
    bpy.context.view_layer.update()
    schema = part("session").current.actor(file_of(rig)).schema
    graph = bpy.context.evaluated_depsgraph_get()
    return part("pose").read_controls(rig, part("properties").body_mesh(rig), schema, graph).controls


def add_codes(rig: Any) -> None:
    """As an actor has them that generates people."""
    rig["shape"] = [0.0] * 4
    rig.property_overridable_library_set('["shape"]', True)
    rig.avatar.latents = "shape"


def state() -> Any:
    """All that the operators change."""
    objects = []
    for found in bpy.data.objects:
        settings, packed = found.avatar, found.avatar.packed
        held = packed.packed_file.data[:100] if packed is not None else b""
        shown = (found.name, found.hide_render, found.display_type, list(found.get("shape", [])))
        objects.append((*shown, settings.actor_path, settings.joint_map, held))
    named = [[one.name for one in kind] for kind in (bpy.data.scenes, bpy.data.images, bpy.data.actions)]
    scene = bpy.context.scene
    seen = scene.view_settings.view_transform, scene.render.resolution_x
    return sorted(objects), named, scene.avatar.live, scene.frame_current, seen


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


def failure(call: Any) -> str:
    """What an operator reports."""
    try:
        call()
    except RuntimeError as error:
        return str(error)
    return ""


def refused(call: Any) -> str:
    """The sentence of a SceneError."""
    try:
        call()
    except part("errors").SceneError as error:
        return str(error)
    return ""


def looked() -> None:
    """Waits until the library has looked into its folders; timers do not run in the background."""
    shelf = part("library").shelf
    while shelf._take() is not None:
        pass


def empty() -> None:
    """A new file; the add-on and its worker stay."""
    bpy.ops.wm.read_homefile(use_empty=True, use_factory_startup=True)


def part(name: str) -> Any:
    return import_module(f"{ADDON}.{name}")
