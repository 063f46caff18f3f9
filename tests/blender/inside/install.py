"""The renderer is installed by the extension's button, then another time where pip finds nothing.

Arguments: the actor file, and a JSON object of variables for pip. Prints one line of JSON, INSTALL {...}.
"""

from __future__ import annotations

import importlib
import json
import os
from pathlib import Path
from typing import Any

import bpy

ADDON = "bl_ext.user_default.neural_avatars"


def main(arguments: list[str]) -> int:
    actor, variables = arguments
    os.environ.update(json.loads(variables))
    setup, session = (importlib.import_module(f"{ADDON}.{name}") for name in ("worker_setup", "session"))
    told: dict[str, Any] = {"before": setup.missing()}
    bpy.context.preferences.system.use_online_access = False
    told["offline"] = bpy.ops.avatar.install_renderer.poll()
    bpy.context.preferences.system.use_online_access = True
    told["result"] = list(bpy.ops.avatar.install_renderer())
    told["status"], told["command"] = session.current.status, setup.worker_command()
    told["loaded"] = list(bpy.ops.avatar.load_actor(filepath=actor))
    session.current.close()
    os.environ["PIP_FIND_LINKS"] = str(Path(actor).parent)  # where no packages are
    try:
        bpy.ops.avatar.install_renderer()
    except RuntimeError as error:
        told["error"] = str(error)
    told["after"] = setup.worker_command()
    told["left"] = sorted(path.name for path in setup.renderer_home().iterdir())
    print(f"INSTALL {json.dumps(told)}", flush=True)
    session.current.close()
    return 0
