""".blend files of other versions of the extension."""

from __future__ import annotations

from pathlib import Path

import bpy
from avatars import activate, empty, file_of, load, part, refused


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
