"""The installer in Blender's window. Writes `installing` once it is at work (then Esc is awaited), and `cancelled`."""

from __future__ import annotations

import importlib
import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import bpy

sys.path.insert(0, __file__.rpartition("/")[0])
import steps


def scenario() -> Iterator[float]:
    del os.environ["AVATAR_WORKER"]
    os.environ["PATH"] = f"{Path('bin').absolute()}{os.pathsep}{os.environ['PATH']}"
    bpy.context.preferences.system.use_online_access = True
    setup, install = (
        importlib.import_module(f"{steps.EXTENSION}.{name}") for name in ("worker_setup", "install_operators")
    )
    window, area, region = steps.view3d()
    area.spaces.active.show_region_ui = True
    yield 1.0
    next(region for region in area.regions if region.type == "UI").active_panel_category = "Avatar"
    with bpy.context.temp_override(window=window, area=area, region=region):
        bpy.ops.avatar.install_renderer("INVOKE_DEFAULT")
    while "torch" not in install.progress():
        yield 0.1
    yield 1.0
    steps.tell("installing", install.progress())
    while install.progress():
        yield 0.1
    left = sorted(path.name for path in setup.renderer_home().iterdir())
    steps.tell("cancelled", json.dumps({"left": left, "missing": setup.missing()}))
    yield 2.0


steps.run(scenario())
