"""A script in Blender's window: one step after the other, each drawn before the next."""

from __future__ import annotations

import sys
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path

import addon_utils  # comes with bpy
import bpy

EXTENSION = "bl_ext.user_default.neural_avatars"
WAIT = 1200  # times 0.1 s, for a photograph or a picture


def run(steps: Iterator[float]) -> None:
    """Runs the generator; what it yields is how many seconds Blender may do other things. Quits at its end."""
    bpy.context.preferences.view.show_splash = False
    addon_utils.enable(EXTENSION, default_set=True)

    def step() -> float | None:
        try:
            return next(steps)
        except StopIteration:
            pass
        except Exception:
            traceback.print_exc()
        sys.stdout.flush()
        bpy.ops.wm.quit_blender()
        return None

    bpy.app.timers.register(step, first_interval=1.0)


def tell(name: str, text: str = "done") -> None:
    """A file beside the actor, complete when it appears."""
    part = Path(f"{name}.part")
    part.write_text(text)
    part.rename(name)


def photographed(name: str) -> Iterator[float]:
    """Says that the window can be photographed, and waits until it was."""
    yield 2.0
    bpy.ops.wm.redraw_timer(type="DRAW_WIN_SWAP", iterations=2)
    tell(name)
    for _ in range(WAIT):
        if Path(f"{name}.taken").exists():
            return
        yield 0.1


def view3d() -> tuple[bpy.types.Window, bpy.types.Area, bpy.types.Region]:
    window = bpy.context.window_manager.windows[0]
    area = next(area for area in window.screen.areas if area.type == "VIEW_3D")
    return window, area, next(region for region in area.regions if region.type == "WINDOW")


def until(met: Callable[[], object]) -> Iterator[float]:
    """Waits until something is there."""
    for _ in range(WAIT):
        if met():
            return
        yield 0.1
    raise TimeoutError("nothing happens in the window")
