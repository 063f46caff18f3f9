# SPDX-License-Identifier: GPL-3.0-or-later
"""`blender -b shot.blend --command avatar …`: the entry point for render farms.

    avatar render --frames 1-100 [--output //frames/shot_####] [--resume] [--scene NAME] [--baked //avatars/shot_####]
    avatar bake --frames 1-100 [--output //avatars/shot_####] [--resume] [--scene NAME]
    avatar check [--scene NAME]

Exit codes: 0 all done; 1 a frame failed, or the check found something; 2 the command line or the scene
is wrong. A frame appears under its name when it is complete, or not at all.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path
from typing import Any

import bpy

from . import baked, compositor, failures, session
from .client import WorkerError
from .engine import is_hidden
from .errors import SceneError
from .properties import ENGINE, actor_file, actor_objects, owner_scene

_DONE, _FAILED, _WRONG = 0, 1, 2
_MOST_FRAMES = 1_000_000
_command: Any = None


def run(arguments: list[str]) -> int:
    """The command; returns the exit code."""
    try:
        options = _parser().parse_args(arguments)
    except SystemExit as leave:
        return leave.code if isinstance(leave.code, int) else _WRONG
    try:
        return options.work(options)
    except (SceneError, WorkerError) as error:
        blameless = isinstance(error, WorkerError) and error.kind != "bad_input"
        return _say(f"error: {error}", _FAILED if blameless else _WRONG)
    finally:
        session.current.close()


def render(options: argparse.Namespace) -> int:
    """Renders the frames one after the other, skipping those that exist with --resume."""
    scene = _scene(options.scene)
    _check_scene(scene)
    if options.baked:
        baked.use(scene, baked.first(options.baked), _chosen_frames(scene, options))
    if scene.render.is_movie_format:
        raise SceneError(f"Scene '{scene.name}' writes a video; choose an image format.")
    if baked.source(scene) is None:
        _check_actors(scene)
    return _render_frames(scene, scene, options)


def bake(options: argparse.Namespace) -> int:
    """Renders the avatars alone, all passes of a frame in one EXR file, for Compositing > Use Baked Pictures."""
    scene = _scene(options.scene)
    _check_scene(scene)
    _check_actors(scene)
    return _render_frames(scene, baked.prepare(scene), options)


def _render_frames(scene: bpy.types.Scene, written: bpy.types.Scene, options: argparse.Namespace) -> int:
    """The frames of `scene`, as `written` (itself, or its scene of avatars) shows and stores them."""
    if options.output:
        written.render.filepath = options.output
    frames = _chosen_frames(scene, options)
    pattern = written.render.filepath
    skipped, began = 0, time.monotonic()
    for number in frames:
        target = Path(bpy.path.abspath(written.render.frame_path(frame=number)))
        if options.resume and target.is_file() and target.stat().st_size:
            skipped += 1
            continue
        started = time.monotonic()
        try:
            if written != scene:
                scene.frame_set(number)  # the owner's camera follows its markers
            _render_frame(written, number, target)
        except RuntimeError as error:
            return _say(f"error: frame {number} of '{scene.name}' failed: {_reason(error)}", _FAILED)
        except OSError as error:
            return _say(
                f"error: {target} cannot be written ({error.strerror}): name another place by --output", _FAILED
            )
        finally:
            written.render.filepath = pattern
        _say(f"frame {number}: {target} ({time.monotonic() - started:.1f} s)")
    seconds = time.monotonic() - began
    _say(f"done: {len(frames) - skipped} frames rendered in {seconds:.1f} s, {skipped} were there")
    return _DONE


def _chosen_frames(scene: bpy.types.Scene, options: argparse.Namespace) -> list[int]:
    return options.frames or list(range(scene.frame_start, scene.frame_end + 1, scene.frame_step))


def check(options: argparse.Namespace) -> int:
    """Says line by line whether the scene can be rendered here."""
    scene = _scene(options.scene)
    code = _DONE
    try:
        session.current.check()
        _say(f"renderer: {session.current.status}")
    except (WorkerError, SceneError) as error:
        return _say(f"renderer: error: {error}", _FAILED)
    for actor in actor_objects(scene):
        try:
            path = actor_file(actor)
            facts = session.current.actor(path)
            bones = actor.pose.bones if actor.pose else {}
            missing = [name for name in facts.schema["joints"] if name not in bones and not actor.avatar.joint_map]
            if missing:
                raise SceneError(f"its armature lacks the bone '{missing[0]}'")
            _say(f"actor {actor.name}: {facts.metadata.get('method', 'unknown method')}, {path}")
        except (WorkerError, SceneError) as error:
            code = _say(f"actor {actor.name}: error: {error}", _FAILED)
    try:
        _check_scene(scene)
        _say(f"scene {scene.name}: ready")
    except SceneError as error:
        code = _say(f"scene {scene.name}: error: {error}", _FAILED)
    return code


def register() -> None:
    global _command
    _command = bpy.utils.register_cli_command("avatar", run)


def unregister() -> None:
    global _command
    if _command is not None:
        bpy.utils.unregister_cli_command(_command)
        _command = None


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="blender -b FILE --command avatar", description="Renders avatars.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    rendering = commands.add_parser("render", help="render frames of the .blend")
    rendering.set_defaults(work=render)
    baking = commands.add_parser("bake", help="render the avatars alone, as EXR pictures with all passes")
    baking.set_defaults(work=bake)
    for command, place in ((rendering, "the scene's"), (baking, "beside the .blend")):
        command.add_argument("--frames", type=_frames, help="such as 7, 1-30 or 3,5-10 (default: the scene's)")
        command.add_argument("--output", help=f"where pictures go, #### is the number (default: {place})")
        command.add_argument("--resume", action="store_true", help="skip frames whose picture exists")
    rendering.add_argument("--baked", help="take the avatars from these pictures, the output of bake")
    checking = commands.add_parser("check", help="see whether this machine can render the .blend")
    checking.set_defaults(work=check)
    for command in (rendering, baking, checking):
        command.add_argument("--scene", help="the scene with the set (default: the one last worked on)")
    return parser


def _frames(text: str) -> list[int]:
    frames: list[int] = []
    for part in text.split(","):
        first, _, last = part.rpartition("-") if "-" in part[1:] else (part, "", part)
        try:
            span = range(int(first), int(last) + 1)
        except ValueError:
            raise argparse.ArgumentTypeError(f"'{text}' is not like 7, 1-30 or 3,5-10") from None
        if not 0 < len(span) <= _MOST_FRAMES:
            raise argparse.ArgumentTypeError(f"'{text}' names no frames")
        frames += span
    return frames


def _scene(name: str | None) -> bpy.types.Scene:
    if name is not None and name not in bpy.data.scenes:
        raise SceneError(f"There is no scene '{name}'; there are {', '.join(bpy.data.scenes.keys())}.")
    return owner_scene(bpy.data.scenes[name] if name is not None else bpy.context.scene)


def _check_scene(scene: bpy.types.Scene) -> None:
    if not actor_objects(scene):
        raise SceneError(f"Scene '{scene.name}' has no avatar.")
    if scene.camera is None:
        raise SceneError(f"Scene '{scene.name}' has no camera.")
    if scene.render.engine == ENGINE:
        return
    if not compositor.is_set_up(scene) or not scene.render.use_compositing:
        raise SceneError(f"Scene '{scene.name}' is not set up: press Set Up Compositing and save.")
    missing = compositor.missing_links(scene)
    if missing:
        raise SceneError(f"The avatars' scene lacks {', '.join(missing)}: press Refresh and save.")


def _check_actors(scene: bpy.types.Scene) -> None:
    """Reads every actor before the first frame. Raises SceneError, WorkerError."""
    for actor in actor_objects(scene):
        if not is_hidden(actor, scene):
            session.current.actor(actor_file(actor))


def _render_frame(scene: bpy.types.Scene, number: int, target: Path) -> None:
    """Renders beside the target and renames. Raises RuntimeError where the render reports an error."""
    target.parent.mkdir(parents=True, exist_ok=True)
    kept = scene.frame_start, scene.frame_end, scene.render.use_overwrite
    scene.frame_start = scene.frame_end = number
    scene.render.use_overwrite = True
    scene.render.filepath = str(target.with_name(f".part_{target.name}_#"))
    written = Path(bpy.path.abspath(scene.render.frame_path(frame=number)))
    try:
        with bpy.context.temp_override(scene=scene):
            result = bpy.ops.render.render(animation=True, scene=scene.name)
        for sentence in failures.found():
            raise RuntimeError(sentence)
        if "FINISHED" not in result or not written.is_file():
            raise RuntimeError("the render was stopped")
        written.replace(target)
    finally:
        written.unlink(missing_ok=True)
        scene.frame_start, scene.frame_end, scene.render.use_overwrite = kept


def _reason(error: Exception) -> str:
    lines = [line.removeprefix("Error: ") for line in str(error).splitlines() if line.strip()]
    return lines[0] if lines else type(error).__name__


def _say(line: str, code: int = _DONE) -> int:
    print(f"avatar: {line}", file=sys.stderr if code else sys.stdout, flush=True)
    return code
