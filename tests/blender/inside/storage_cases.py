"""Where the file of an actor is kept: packed, missed and found again, beside a .blend that goes elsewhere."""

from __future__ import annotations

import os
import time
from pathlib import Path

import bpy
from avatars import activate, avatars, controls, failure, file_of, load, part, refused


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
    stranger = actor.with_name("tiny.actor")
    stranger.write_bytes(b"another")
    assert "is another actor already" in failure(bpy.ops.avatar.unpack_actor)
    assert rig.avatar.packed is not None and stranger.read_bytes() == b"another"
    stranger.unlink()
    assert bpy.ops.avatar.unpack_actor() == {"FINISHED"}
    assert stranger.read_bytes() == data and rig.avatar.packed is None and len(bpy.data.images) == 1
    assert rig.avatar.actor_path == "//tiny.actor" and file_of(rig) == stranger
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
    moved = actor.rename(actor.parent / "moved" / "tiny.actor")
    said = refused(lambda: part("session").current.actor(file_of(first)))
    assert str(actor) in said and "press Find Actor File" in said, said
    for choose in (bpy.ops.avatar.load_actor, bpy.ops.avatar.find_actor):
        activate(first)
        said = failure(lambda choose=choose: choose(filepath=str(actor)))
        assert str(actor) in said and "choose a file that is there" in said, said
    activate(first)
    first.avatar.licence = second.avatar.licence = "of another file"
    first.data.bones["head"].name = "skull"
    assert "lacks bones" in failure(lambda: bpy.ops.avatar.find_actor(filepath=str(moved)))
    first.data.bones["skull"].name = "head"
    assert bpy.ops.avatar.find_actor(filepath=str(moved)) == {"FINISHED"}
    assert first.avatar.actor_path == second.avatar.actor_path == "//moved/tiny.actor"
    assert first.avatar.licence == second.avatar.licence == "CC0-1.0"


def case_saving_elsewhere_keeps_the_actor(actor: Path) -> None:
    bpy.ops.wm.save_as_mainfile(filepath=str(actor.with_name("shot.blend")))
    rig = load(actor)
    other = actor.parent / "other"
    other.mkdir()
    bpy.ops.wm.save_as_mainfile(filepath=str(other / "copy.blend"), copy=True)
    assert rig.avatar.actor_path == "//tiny.actor" and file_of(rig) == actor, "the open file is where it was"
    bpy.ops.wm.save_as_mainfile(filepath=str(other / "moved.blend"))
    assert rig.avatar.actor_path == "//../tiny.actor" and file_of(rig) == actor
    bpy.ops.wm.open_mainfile(filepath=str(other / "copy.blend"))
    assert file_of(avatars()[0]) == actor
