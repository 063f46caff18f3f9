"""Every operator: what it says of itself, and that Blender's undo takes back what it did."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import bpy
import numpy as np
from avatars import activate, add_codes, controls, empty, failure, load, part
from contents import contents

NOTHING_IN_THE_BLEND = {
    *("check_worker", "stop_worker", "copy_install", "install_renderer", "cancel_install"),
    *("export_motion", "save_bone_map"),
    *("refresh_library", "add_folder", "remove_folder"),
    "place_actor",  # Load Actor does what it does to the .blend
}
ALWAYS = {
    *("load_actor", "place_actor", "setup_compositing", "overscan", "check_worker", "stop_worker", "copy_install"),
    *("refresh_library", "add_folder", "remove_folder"),
}  # others are grey in an empty .blend


def case_operators_tell_what_they_do_and_undo(actor: Path) -> None:
    """Every operator has a tooltip, says why it is grey, and is undone where it changes the .blend."""
    assert len(operators()) > 25, operators()
    for name in operators():
        operator = getattr(bpy.ops.avatar, name)
        kind = operator.get_rna_type()
        assert len(kind.description) > 20 and not kind.description.endswith("."), name
        undone = "UNDO" in operator.bl_options
        assert undone == (name not in NOTHING_IN_THE_BLEND), f"{name}: undo is {undone}"
        for setting in kind.properties:
            hidden = setting.is_hidden or setting.identifier in ("rna_type", "filepath", "directory")
            assert hidden or setting.name, f"{name}.{setting.identifier} has no name"
        assert not operator.poll() or name in ALWAYS, f"{name} finds nothing to do, and is not grey"
        if not operator.poll():
            said = failure(operator)
            assert "poll() failed, context is incorrect" not in said, f"{name} does not say why it is grey"


def case_undo_takes_back_every_operator(actor: Path) -> None:
    """Undo brings back what was before, redo what was after; an operator that nobody tries here is named."""
    undone = {name for name in operators() if "UNDO" in getattr(bpy.ops.avatar, name).bl_options}
    assert undone == STAGES.keys(), f"give these a stage, or take it away: {undone ^ STAGES.keys()}"
    for name, stage in STAGES.items():
        empty()
        bpy.ops.wm.save_as_mainfile(filepath=str(actor.with_name("shot.blend")), check_existing=False)
        with contextlib.ExitStack() as until_done:
            options = stage(actor, until_done)
            bpy.ops.ed.undo_push(message="before")
            before = contents()
            assert getattr(bpy.ops.avatar, name)("EXEC_DEFAULT", True, **options) == {"FINISHED"}, name
            after = contents()
            assert difference(before, after), f"{name} changed nothing"
            bpy.ops.ed.undo()
            assert not difference(before, contents()), f"undo of {name}: {difference(before, contents())}"
            bpy.ops.ed.redo()
            assert not difference(after, contents()), f"redo of {name}: {difference(after, contents())}"
    bpy.ops.ed.undo()
    assert controls(load(actor))["pose"], "the renderer answers still"


def operators() -> list[str]:
    return [name for name in dir(bpy.ops.avatar) if not name.startswith("_")]


def difference(first: dict[str, Any], second: dict[str, Any]) -> list[str]:
    """Which data-blocks are not the same, and how."""
    keys = [key for key in sorted(first.keys() | second.keys()) if first.get(key) != second.get(key)]
    return [f"{key}: {first.get(key)} / {second.get(key)}" for key in keys]


Stage = Callable[[Path, contextlib.ExitStack], dict[str, Any]]  # prepares; returns the operator's options


def loaded(**options: Any) -> Stage:
    """An avatar with codes is active."""

    def stage(actor: Path, _: contextlib.ExitStack) -> dict[str, Any]:
        add_codes(load(actor))
        return options

    return stage


def with_file(actor: Path, _: contextlib.ExitStack) -> dict[str, Any]:
    return {"filepath": str(actor)}


def with_character(actor: Path, _: contextlib.ExitStack) -> dict[str, Any]:
    """An armature that drives nothing yet."""
    load(actor).avatar.actor_path = ""
    return {"filepath": str(actor)}


def with_old_bone_map(actor: Path, _: contextlib.ExitStack) -> dict[str, Any]:
    load(actor).avatar.joint_map = "{}"
    return {}


def with_a_bone(actor: Path, _: contextlib.ExitStack) -> dict[str, Any]:
    rig = load(actor)
    rig.avatar.actor_path = ""
    bpy.ops.object.mode_set(mode="POSE")
    rig.data.bones.active = rig.data.bones["left_knee"]
    return {"part": "head"}


def with_another_shape(actor: Path, _: contextlib.ExitStack) -> dict[str, Any]:
    part("properties").body_mesh(load(actor)).data.shape_keys.key_blocks["beta_00"].value = 1.0
    return {}


def with_a_picture(actor: Path, until_done: contextlib.ExitStack) -> dict[str, Any]:
    load(actor).avatar.appearance = bpy.data.images.new("person", 8, 8)
    pretend(until_done, "appearance", lambda *_: [0.5] * 4)
    return {}


def with_people(actor: Path, until_done: contextlib.ExitStack) -> dict[str, Any]:
    """The worker would make the body's own mesh of any person."""
    add_codes(load(actor))
    header, arrays = part("session").current.body(actor)
    planes = {"rest": np.zeros((0, 3, 3)), "normals": [], "colours": [], **arrays}
    told = {"joint_names": header["joint_names"], "parents": arrays["parents"]}
    facts = part("session").current.actor(actor)
    pretend(until_done, "actor", lambda *_: replace(facts, schema={**facts.schema, "latents": {"shape": 4}}))
    pretend(until_done, "rigged", lambda *_: (told, planes))
    return {"detail": 1}


def with_a_head(actor: Path, until_done: contextlib.ExitStack) -> dict[str, Any]:
    head, body = load(actor), load(actor)
    facts = part("session").current.actor(actor)
    pretend(until_done, "actor", lambda *_: replace(facts, schema={**facts.schema, "head": True}))
    body.location = (1, 0, 0)
    for rig in (head, body):
        rig.select_set(True)
    bpy.context.view_layer.update()
    return {}


def packed(actor: Path, _: contextlib.ExitStack) -> dict[str, Any]:
    load(actor)
    assert bpy.ops.avatar.pack_actor() == {"FINISHED"}
    return {}


def moved(actor: Path, _: contextlib.ExitStack) -> dict[str, Any]:
    load(actor)
    return {"filepath": str(shutil.copy(actor, actor.with_name("other.actor")))}


def composited(**options: Any) -> Stage:
    def stage(actor: Path, _: contextlib.ExitStack) -> dict[str, Any]:
        load(actor)
        scene = bpy.context.scene
        scene.camera = bpy.data.objects.new("camera", bpy.data.cameras.new("camera"))
        scene.collection.objects.link(scene.camera)
        scene.render.engine, scene.render.resolution_x, scene.render.resolution_y = "CYCLES", 16, 16
        assert bpy.ops.avatar.setup_compositing() == {"FINISHED"}
        return options

    return stage


def with_baked_pictures(actor: Path, until_done: contextlib.ExitStack) -> dict[str, Any]:
    composited()(actor, until_done)
    pattern = str(actor.with_name("baked_####"))
    assert part("cli").run(["bake", "--frames", "1", "--output", pattern]) == 0
    return {"filepath": pattern.replace("####", "0001.exr")}


def from_baked_pictures(actor: Path, until_done: contextlib.ExitStack) -> dict[str, Any]:
    assert bpy.ops.avatar.use_baked(**with_baked_pictures(actor, until_done)) == {"FINISHED"}
    return {}


def with_a_motion(actor: Path, _: contextlib.ExitStack) -> dict[str, Any]:
    load(actor)
    file = actor.with_name("motion.npz")
    np.savez(file, poses=np.full((4, 72), 0.1), trans=np.zeros((4, 3)), mocap_framerate=24)
    return {"filepath": str(file)}


def with_a_face(actor: Path, _: contextlib.ExitStack) -> dict[str, Any]:
    load(actor)
    file = actor.with_name("face.csv")
    file.write_text("Timecode,BlendShapeCount,JawOpen\n10:00:00:00.000,61,0.1\n10:00:00:30.000,61,0.6\n")
    return {"filepath": str(file)}


def linked(actor: Path, _: contextlib.ExitStack) -> dict[str, Any]:
    load(actor)
    blend = actor.with_name("library.blend")
    bpy.ops.wm.save_as_mainfile(filepath=str(blend), copy=True)
    empty()
    bpy.ops.wm.save_as_mainfile(filepath=str(actor.with_name("shot.blend")), check_existing=False)
    with bpy.data.libraries.load(str(blend), link=True) as (_, here):
        here.collections = ["tiny"]
    bpy.context.scene.collection.children.link(here.collections[0])
    activate()
    return {}


def pretend(until_done: contextlib.ExitStack, name: str, answer: Any) -> None:
    """The worker's answer to one of the session's questions."""
    session = part("session").current
    setattr(session, name, answer)
    until_done.callback(delattr, session, name)


STAGES: dict[str, Stage] = {
    "load_actor": with_file,
    "drive_armature": with_character,
    "apply_bone_map": with_old_bone_map,
    "tell_bone": with_a_bone,
    "fit_bones": with_another_shape,
    "stand_in": loaded(),
    "live": loaded(),
    "read_appearance": with_a_picture,
    "sample_person": loaded(seed=2),
    "key_person": loaded(),
    "make_mesh": with_people,
    "attach_head": with_a_head,
    "pack_actor": loaded(),
    "unpack_actor": packed,
    "find_actor": moved,
    "pose_here": linked,
    "import_motion": with_a_motion,
    "sample_motion": loaded(clip="walk"),
    "bake_motion": loaded(),
    "import_faces": with_a_face,
    "setup_compositing": loaded(),
    "overscan": composited(percent=20),
    "keep_colours": composited(),
    "use_baked": with_baked_pictures,
    "render_again": from_baked_pictures,
    "remove_compositing": composited(),
}
