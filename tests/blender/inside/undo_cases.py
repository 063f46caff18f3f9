"""Every operator: what it says of itself, and that Blender's undo takes back what it did."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import bpy
from avatars import activate, add_codes, controls, failure, load

NOTHING_IN_THE_BLEND = {
    *("check_worker", "stop_worker", "copy_install", "install_renderer", "cancel_install"),
    *("export_motion", "save_bone_map"),
    *("refresh_library", "add_folder", "remove_folder"),
}
FIND_NOTHING_TO_DO = {"fit_bones", "apply_bone_map"}
KEPT = {"drive_armature", "pack_actor", "setup_compositing"}  # others undo what these did


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
