# SPDX-License-Identifier: GPL-3.0-or-later
"""Which program renders: what the environment, the preferences and the installer say of it."""

from __future__ import annotations

import os
import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import bpy

from .client import python_command
from .errors import SceneError
from .runtime import installed

COMMAND_VARIABLE = "AVATAR_WORKER"  # a command line; wins over the preferences
FOLDERS_VARIABLE = "AVATAR_FOLDERS"  # HERE=THERE;…, for a worker on another machine; wins over the preferences
_FOUND = {name: os.environ.get(name) for name in ("AVATAR_THREADS", "OMP_NUM_THREADS")}


@dataclass(frozen=True)
class Setup:
    """How the worker is started, and what its machine calls our folders."""

    command: tuple[str, ...]
    threads: int  # 0: all
    folders: tuple[tuple[Path, str], ...]  # here, there

    def there(self, path: str) -> str:
        """A path of ours as the worker's machine knows it."""
        for here, folder in self.folders:
            if Path(path).is_relative_to(here):
                return f"{folder.rstrip('/')}/{Path(path).relative_to(here).as_posix()}"
        return path


def read_setup() -> Setup:
    """Raises SceneError."""
    chosen = _preferences()
    folders = os.environ.get(FOLDERS_VARIABLE) or (chosen.folders if chosen is not None else "")
    return Setup(tuple(worker_command()), chosen.threads if chosen is not None else 0, mapped_folders(folders))


def worker_command() -> list[str]:
    """The worker's command line: AVATAR_WORKER, else the preferences', else the installed renderer. Raises SceneError
    where there is none."""
    line = os.environ.get(COMMAND_VARIABLE, "").strip()
    if line:
        return shlex.split(line, posix=os.name != "nt")
    chosen = _preferences()
    if chosen is not None and chosen.command.strip():
        return shlex.split(chosen.command, posix=os.name != "nt")
    python = chosen.python.strip() if chosen is not None else ""
    home = renderer_home()
    own = installed(home) if home is not None and not python else None
    if not python and own is None:
        raise SceneError(
            "No renderer is installed: press Install Renderer in the tab Avatar of the 3D view's sidebar (N), or choose"
            f" a Python that has avatar-core in this add-on's preferences (a farm sets {COMMAND_VARIABLE})."
        )
    command = python_command(os.path.expanduser(python) if python else str(own))
    if chosen is not None and chosen.device != "auto":
        command += ["--device", chosen.device]
    return command


def missing() -> bool:
    """Whether no renderer is installed or named."""
    try:
        worker_command()
    except SceneError:
        return True
    return False


def renderer_home() -> Path | None:
    """Where the extension installs renderers, a folder of this user; None where it is no installed extension."""
    try:
        return Path(bpy.utils.extension_path_user(__package__, path="renderer"))
    except ValueError:
        return None


def use_installed() -> None:
    """From now on the installed renderer, whatever the preferences named."""
    chosen = _preferences()
    if chosen is not None and (chosen.python or chosen.command):
        chosen.python = chosen.command = ""
        bpy.context.preferences.is_dirty = True


def mapped_folders(text: str) -> tuple[tuple[Path, str], ...]:
    """`HERE=THERE;HERE=THERE` as pairs. Raises SceneError."""
    pairs = [entry.partition("=") for entry in text.split(";") if entry.strip()]
    for here, _, there in pairs:
        if not Path(here.strip()).expanduser().is_absolute() or not there.strip():
            raise SceneError(
                f"Folders: '{here.strip()}' must be a folder here and its name on the renderer's machine, as"
                " /shows=/mnt/shows."
            )
    return tuple((Path(here.strip()).expanduser(), there.strip()) for here, _, there in pairs)


def _preferences() -> Any:
    """The add-on's preferences; None where Blender runs without them."""
    addon = bpy.context.preferences.addons.get(__package__)
    return addon.preferences if addon is not None else None


def limit_threads(count: int) -> None:
    """The worker inherits our environment: its kernels read the first, PyTorch the second. 0: as found."""
    for name, found in _FOUND.items():
        if count:
            os.environ[name] = str(count)
        elif found is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = found
