""".blend files of other versions of the extension."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import bpy
from avatars import activate, avatars, empty, failure, file_of, load, part, refused
from contents import contents

TRIED = (
    *("stand_in", "live", "fit_bones", "pack_actor", "sample_motion", "bake_motion"),
    *("setup_compositing", "remove_compositing", "overscan", "keep_colours"),
)


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
            here.objects = [name for name in there.objects if name == "tiny_rig"]
        assert bpy.data.objects["tiny_rig"].avatar.latents == "shape"


def case_files_of_a_newer_version_are_refused(actor: Path) -> None:
    """In a sentence, by whatever would change or render them; what this version does not know is kept."""
    blend, properties = actor.with_name("new.blend"), part("properties")
    with newer(properties):
        rig = load(actor)
        assert bpy.ops.avatar.setup_compositing() == {"FINISHED"}
        rig.avatar.to_come, rig.avatar.version, bpy.context.scene.avatar.version = "kept", 99, 99
        bpy.ops.wm.save_as_mainfile(filepath=str(blend))
    bpy.ops.wm.open_mainfile(filepath=str(blend))
    rig, cube = activate(), bpy.data.objects.new("cube", None)
    bpy.context.scene.collection.objects.link(cube)
    before = contents()
    for name in TRIED:
        said = failure(getattr(bpy.ops.avatar, name))
        assert f"Error: '{rig.name}' was saved by a newer version of Neural Avatars: update" in said, f"{name}: {said}"
    activate(cube)
    said = failure(bpy.ops.avatar.remove_compositing)
    assert "Error: 'Scene' was saved by a newer version of Neural Avatars: update" in said, said
    assert contents() == before, "nothing was changed"
    assert "newer version" in refused(lambda: file_of(rig))
    bpy.ops.wm.save_mainfile()
    empty()
    with newer(properties):
        bpy.ops.wm.open_mainfile(filepath=str(blend))
        assert (avatars()[0].avatar.to_come, avatars()[0].avatar.version) == ("kept", 99)
        empty()


@contextlib.contextmanager
def newer(properties: Any) -> Iterator[None]:
    """The extension as it may be: its avatars have one property more."""
    known = properties.AvatarSettings.__annotations__
    properties.unregister()
    known["to_come"] = bpy.props.StringProperty()
    properties.register()
    try:
        yield
    finally:
        properties.unregister()
        del known["to_come"]
        properties.register()
