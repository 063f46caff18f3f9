"""Runs the studio's scripts in Blender: in a child Python with the bpy module, or in a real Blender."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import deque
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from tqdm import tqdm

from avatar_core.errors import AvatarError

_KEPT_LINES = 8  # of Blender's output, for an error


class StudioError(AvatarError):
    """Blender could not do its part."""


def run_script(script: str, job: dict[str, Any], blender: str | None, folder: Path, pictures: int = 0) -> None:
    """Runs a script of this package with `job`, which is put into `folder`, and shows a bar of `pictures`.

    blender: a Blender program; None is the bpy module of this Python. Raises StudioError.
    """
    if blender is None and find_spec("bpy") is None:
        raise StudioError("the bpy module is not installed; pip install 'avatar-core[blender]' or give --blender")
    job_file = folder.resolve() / f"{Path(script).stem}.json"
    job_file.write_text(json.dumps(job), encoding="utf-8")
    start = [blender, "-b", "--factory-startup", "--python-exit-code", "1", "--python"] if blender else [sys.executable]
    command = [*start, str(Path(__file__).with_name(script)), "--", str(job_file)]
    try:
        child = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
        )
    except OSError as error:
        raise StudioError(f"Blender cannot be started as '{command[0]}': {error.strerror or error}") from error
    try:
        failure = _follow(child, pictures)
        code = child.wait()
    except BaseException:
        child.kill()
        child.wait()
        raise
    if code:
        raise StudioError(failure or f"Blender ended with exit code {code}; the job is in {job_file}")


def _follow(child: subprocess.Popen[str], pictures: int) -> str:
    """Reads the child's lines to the end; returns what it said went wrong, or its last words."""
    assert child.stdout is not None
    said, last = "", deque[str](maxlen=_KEPT_LINES)
    with tqdm(total=pictures, unit="picture", disable=pictures == 0) as bar:
        for line in child.stdout:
            kind, _, text = line.removeprefix("STUDIO ").strip().partition(" ")
            if not line.startswith("STUDIO "):
                last.append(line.strip())
            elif kind == "picture":
                bar.update()
            elif kind == "error":
                said = text
    return said or (f"Blender failed: {' / '.join(filter(None, last))}" if last else "")
