"""Runs the studio's scripts in Blender: in a child Python with the bpy module, or in a real Blender."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections import deque
from pathlib import Path
from typing import Any

from tqdm import tqdm

from avatar_core.errors import AvatarError

_PREFIX = "STUDIO "


class StudioError(AvatarError):
    """Blender could not do its part."""


def run_script(script: str, job: dict[str, Any], blender: str | None, pictures: int) -> None:
    """Runs `training/studio/SCRIPT -- JOB` and shows a bar of `pictures`. Raises StudioError."""
    path = Path(__file__).with_name(script)
    start = [blender, "-b", "--factory-startup", "--python"] if blender else [sys.executable]
    with tempfile.TemporaryDirectory(prefix="avatar_studio_") as folder:
        job_file = Path(folder) / "job.json"
        job_file.write_text(json.dumps(job), encoding="utf-8")
        command = [*start, str(path), "--", str(job_file)]
        last: deque[str] = deque(maxlen=12)
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace") as child:
            assert child.stdout is not None
            with tqdm(total=pictures, unit="picture", disable=pictures == 0) as bar:
                for line in child.stdout:
                    if line.startswith(f"{_PREFIX}picture"):
                        bar.update()
                    else:
                        last.append(line.rstrip())
        if child.returncode:
            raise StudioError(f"Blender failed with exit code {child.returncode}: {' | '.join(last)}")
