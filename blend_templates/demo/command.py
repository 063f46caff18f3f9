"""The command: prepares the job, runs Blender on it, shows progress, and makes the contact sheet."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
import tempfile
import time
from argparse import ArgumentParser, Namespace
from collections import deque
from importlib.util import find_spec
from pathlib import Path

from PIL import Image
from tqdm import tqdm

from avatar_core.actor_file import read_header
from avatar_core.body.joints import SMPL_JOINTS
from avatar_core.commands.render import resolution
from avatar_core.errors import AvatarError
from avatar_core.quality import QUALITIES

from .motion import FRAMES, demo_motion

ACTOR = Path(__file__).parents[1] / "actors" / "robin.actor"
_SCENE = Path(__file__).with_name("scene.py")
_SHEET_COLUMNS = 4
_SHEET_PICTURES = 12


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("--frames", type=int, default=FRAMES, help=f"number of frames (default {FRAMES})")
    parser.add_argument("--resolution", type=resolution, default=(640, 360), help="WxH (default 640x360)")
    parser.add_argument("--output", type=Path, default=Path("out/demo"), help="folder (default out/demo)")
    parser.add_argument("--quality", choices=QUALITIES, default="preview")
    parser.add_argument("--actor", type=Path, default=ACTOR, help="another actor with an SMPL skeleton")
    parser.add_argument("--blender", help="a Blender executable; the default is the bpy module of this Python")


def run(arguments: Namespace) -> int:
    from build_addon import stage

    if not 1 <= arguments.frames <= 10_000:
        raise AvatarError(f"--frames must be 1 to 10000, got {arguments.frames}")
    if arguments.blender is None and find_spec("bpy") is None:
        raise AvatarError("the demo needs Blender: pip install -e '.[blender]', or name an executable with --blender")
    read_header(arguments.actor)
    output = arguments.output.resolve()
    try:
        output.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise AvatarError(f"the folder {output} cannot be made: {error.strerror}") from error
    pose, transl = demo_motion(arguments.frames)
    started = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="avatar-demo-") as folder:
        stage(Path(folder) / "neural_avatars")
        job = {
            "addons": folder,
            "actor": str(arguments.actor.resolve()),
            "joints": list(SMPL_JOINTS),
            "pose": pose.tolist(),
            "transl": transl.tolist(),
            "resolution": arguments.resolution,
            "quality": arguments.quality,
            "output": str(output),
        }
        path = Path(folder) / "job.json"
        path.write_text(json.dumps(job), encoding="utf-8")
        _run_blender(arguments.blender, path, arguments.frames)
    pictures = [output / f"frame_{number:04d}.png" for number in range(1, arguments.frames + 1)]
    _contact_sheet(pictures, output / "contact_sheet.png")
    seconds = time.monotonic() - started
    print(f"{arguments.frames} frames in {seconds:.0f} s: {output}/frame_*.png, demo.mp4, contact_sheet.png")
    return 0


def _run_blender(blender: str | None, job: Path, frames: int) -> None:
    """Runs the scene script; raises AvatarError with the end of Blender's output when it fails."""
    if blender is None:
        command = [sys.executable, str(_SCENE), str(job)]
    else:
        command = [*shlex.split(blender), "-b", "--factory-startup", "-P", str(_SCENE), "--", str(job)]
    worker = shlex.join([sys.executable, "-I", "-m", "avatar_core.worker"])
    environment = {"AVATAR_WORKER": worker, **os.environ}
    try:
        process = subprocess.Popen(
            command,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            env=environment,
        )
    except OSError as error:
        raise AvatarError(f"Blender cannot be started with {command[0]}: {error.strerror}") from error
    tail: deque[str] = deque(maxlen=12)
    assert process.stdout is not None
    try:
        with tqdm(total=frames, unit="frame", desc="demo") as bar:
            for line in process.stdout:
                if line.startswith("avatar-demo: frame"):
                    bar.update()
                else:
                    tail.append(line.rstrip())
        code = process.wait()
    finally:
        if process.poll() is None:
            process.terminate()
    if code != 0:
        raise AvatarError(f"Blender ended with {code}:\n" + "\n".join(tail))


def _contact_sheet(paths: list[Path], target: Path) -> None:
    count = min(_SHEET_PICTURES, len(paths))
    chosen = [paths[round(i * (len(paths) - 1) / max(count - 1, 1))] for i in range(count)]
    pictures = [Image.open(path).convert("RGB") for path in chosen]
    width, height = 320, round(320 * pictures[0].height / pictures[0].width)
    rows = -(-count // _SHEET_COLUMNS)
    sheet = Image.new("RGB", (width * min(count, _SHEET_COLUMNS), height * rows))
    for i, picture in enumerate(pictures):
        place = (i % _SHEET_COLUMNS * width, i // _SHEET_COLUMNS * height)
        sheet.paste(picture.resize((width, height), Image.Resampling.LANCZOS), place)
    sheet.save(target)
