"""Cases inside Blender: functions named case_… of the files *_cases.py, each of which takes the path of an actor.

Arguments: the actor file, and names of files, or of one case as undo_cases.case_… Each case gets an empty .blend and a
copy of the actor in a folder of its own. Prints one line of JSON for each: its name, and its traceback or nothing.
"""

from __future__ import annotations

import json
import shutil
import tempfile
import traceback
from collections.abc import Callable
from importlib import import_module
from pathlib import Path

from avatars import empty, part


def main(arguments: list[str]) -> int:
    actor = Path(arguments[0])
    for wanted in arguments[1:]:
        file, _, only = wanted.partition(".")
        for name, work in list(vars(import_module(file)).items()):
            if name.startswith("case_") and only in ("", name):
                report = {"case": f"{file}.{name}", "error": error_of(work, actor)}
                print("\nCASE " + json.dumps(report), flush=True)  # other lines may have no end
    part("session").current.close()
    return 0


def error_of(work: Callable[[Path], None], actor: Path) -> str:
    with tempfile.TemporaryDirectory(dir=actor.parent) as folder:  # the worker sees it too
        own = Path(shutil.copy(actor, folder))
        empty()
        try:
            work(own)
        except Exception:
            return traceback.format_exc()
    return ""
