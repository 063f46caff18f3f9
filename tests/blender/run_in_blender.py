"""Runs a script inside Blender with the installed extension switched on, and ends with its exit code.

    blender -b -P run_in_blender.py -- script.py arguments …
    python run_in_blender.py -- script.py arguments …          (an interpreter with the bpy module)

The script's `main(arguments)` returns the exit code. The process leaves by os._exit: Blender's own shutdown
can hang in bpy 4.5 and hides exit codes elsewhere.
"""

from __future__ import annotations

import importlib
import os
import sys
import traceback
from pathlib import Path

import bpy  # isort: skip  the module bpy brings the other one
import addon_utils

EXTENSION = "bl_ext.user_default.neural_avatars"


def main() -> int:
    script, *arguments = sys.argv[sys.argv.index("--") + 1 :]
    bpy.context.preferences.filepaths.use_scripts_auto_execute = True
    loaded = addon_utils.enable(EXTENSION, default_set=True)
    if loaded is None:
        print(f"error: {EXTENSION} is not installed", flush=True)
        return 3
    sys.path.insert(0, str(Path(script).resolve().parent))
    return importlib.import_module(Path(script).stem).main(arguments) or 0


code = 1
try:
    code = main()
except BaseException:
    traceback.print_exc()
sys.stdout.flush()
sys.stderr.flush()
os._exit(code)
