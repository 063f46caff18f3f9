"""What cannot be rendered is said in a sentence."""

from __future__ import annotations

import contextlib
import io
from importlib import import_module
from pathlib import Path

import bpy
import shot
from pictures import ADDON, render_error


def case_farm_command_says_what_is_wrong(actor: Path) -> None:
    """Before a frame is begun, in a sentence, with the exit code."""
    cli = import_module(f"{ADDON}.cli")
    shot.build(actor, {**shot.DEFAULTS, "frames": 1})
    scene, rig = bpy.context.scene, bpy.data.objects["tiny_rig"]

    def said(code: int, *arguments: str) -> str:
        with contextlib.redirect_stderr(io.StringIO()) as heard:
            assert cli.run(list(arguments)) == code, (arguments, heard.getvalue())
        return heard.getvalue()

    blocked = f"{actor}/pictures/shot_####"  # beneath a file
    assert "cannot be written" in said(1, "render", "--output", blocked)
    assert "cannot be written" in said(1, "bake", "--output", blocked)
    assert "There is no scene 'x'" in said(2, "render", "--scene", "x")
    rig.avatar.actor_path = str(actor.with_name("lost.actor"))
    assert "lost.actor does not exist" in said(2, "render")
    assert "lost.actor does not exist" in said(1, "check")
    rig.hide_render = True
    assert "cannot be written" in said(1, "render", "--output", blocked), "an avatar that is hidden is not missed"
    scene.camera = None
    scene.timeline_markers.clear()
    assert "has no camera" in said(2, "bake")


def case_other_cameras_are_refused(actor: Path) -> None:
    shot.build(actor, {**shot.DEFAULTS})
    for kind, word in (("ORTHO", "orthographic"), ("PANO", "panoramic")):
        bpy.data.cameras["A"].type = kind
        message = render_error()
        assert word in message and "'A'" in message and "perspective" in message, message


def case_what_is_in_the_way_is_said_before_a_render_and_in_it(actor: Path) -> None:
    obstacles = import_module(f"{ADDON}.obstacles")
    shot.build(actor, {**shot.DEFAULTS})
    scene, lens = bpy.context.scene, bpy.context.scene.camera.data
    assert obstacles.obstacle(scene) == "" and render_error() == ""
    lens.type = "ORTHO"
    assert "perspective" in obstacles.obstacle(scene)
    lens.type = "PERSP"
    bpy.context.view_layer.objects.active = bpy.data.objects["tiny_rig"]
    scene.render.engine = "BLENDER_WORKBENCH"
    if obstacles.obstacle(scene):
        bpy.ops.avatar.stand_in()
    assert obstacles.obstacle(scene) == "", "no body is rendered"
    bpy.ops.avatar.stand_in()
    for said in (obstacles.obstacle(scene), render_error()):
        assert "EEVEE" in said and "Cast Shadows" in said, said
    scene.camera = None
    assert "no camera: choose one" in obstacles.obstacle(scene)


def case_the_copied_command_makes_the_python_that_is_named(actor: Path) -> None:
    runtime = import_module(f"{ADDON}.runtime")
    assert f"{runtime.python_by_hand()} -m pip install 'some.whl'" in runtime.install_command("some.whl")


def case_uneven_scale_is_refused(actor: Path) -> None:
    shot.build(actor, {**shot.DEFAULTS})
    next(o for o in bpy.context.scene.objects if o.avatar.actor_path).scale = (1, 2, 1)
    assert "scaled unevenly" in render_error()


def case_relative_path(actor: Path) -> None:
    shot.build(actor, {**shot.DEFAULTS})
    rig = next(o for o in bpy.context.scene.objects if o.avatar.actor_path)
    rig.avatar.actor_path = "//" + Path(actor).name
    assert "save it first" in render_error()
    bpy.ops.wm.save_as_mainfile(filepath=str(Path(actor).with_name("relative.blend")), check_existing=False)
    assert render_error() == ""


def case_wrong_rig_is_named(actor: Path) -> None:
    shot.build(actor, {**shot.DEFAULTS})
    rig = next(o for o in bpy.context.scene.objects if o.avatar.actor_path)
    rig.data.bones["head"].name = "skull"
    message = render_error()
    assert "(head)" in message and rig.name in message, message
