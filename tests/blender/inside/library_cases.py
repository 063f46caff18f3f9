"""Actors of folders, and such that are dropped into the 3D view."""

from __future__ import annotations

import json
from pathlib import Path

import bpy
import numpy as np
from avatars import load, part
from pictures import ADDON


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
    assert [name for name, picture in found.items() if picture is not None] == ["tiny"], found.keys()
    assert len(found) == 6 and found["tiny"].shape == (256, 256, 4) and np.ptp(found["tiny"][..., 3]) == 255
    assert 1.4 < thumbnails.height(actor) < 2.2, "as tall as its body"
    assert [thumbnails.height(actor.with_name(f"{name}.actor")) for name in ("empty", "huge", "odd")] == [None] * 3
    assert bpy.ops.avatar.add_folder(directory=str(actor.parent)) == {"FINISHED"}
    looked()
    icon = library_.shelf.icons[str(actor)]
    assert tuple(icon.image_size) == (256, 256)
    shown = np.array(icon.image_pixels[:], np.int32).view(np.uint8).reshape(256, 256, 4)
    assert np.array_equal(shown[::-1], found["tiny"])
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


def looked() -> None:
    """Waits until the library has looked into its folders; timers do not run in the background."""
    shelf = part("library").shelf
    while shelf._take() is not None:
        pass
