"""The Blenders of this machine, each with the extension installed in a home of its own."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
HERE = Path(__file__).parent
EXTENSION = "bl_ext.user_default.neural_avatars"
TIMEOUT = 600  # seconds a Blender may take, on a machine with other work
_PROBE = """
import bpy, os
print('PROBE', '.'.join(map(str, bpy.app.version)), os.path.exists({python!r}), flush=True)
"""


@dataclass(frozen=True)
class Blender:
    """An executable, or an interpreter that has the module bpy.

    prefix: what starts a program of this machine from inside that Blender (one that lives in a chroot has
    this machine's tree at /host).
    """

    name: str
    program: str
    module: bool
    version: tuple[int, ...]
    prefix: tuple[str, ...]

    def command(self, *arguments: str) -> list[str]:
        return [self.program, *arguments] if self.module else [self.program, "-b", *arguments]


@dataclass(frozen=True)
class Studio:
    """A Blender with the extension installed, and a folder that both sides see."""

    blender: Blender
    folder: Path
    actor: Path

    def script(self, name: str, *arguments: str, worker: str | None = None) -> subprocess.CompletedProcess[str]:
        """Runs inside/`name`.py with the extension switched on."""
        runner, script = str(self.folder / "run_in_blender.py"), str(self.folder / "inside" / f"{name}.py")
        start = [runner] if self.blender.module else ["-P", runner]
        return self.run(self.blender.command(*start, "--", script, *arguments), worker)

    def report(self, name: str, actor: Path) -> dict[str, Any]:
        """The JSON that inside/`name`.py prints as REPORT about an actor."""
        seen = self.folder / actor.name  # by that Blender too
        if seen != actor:
            shutil.copy(actor, seen)
        done = self.script(name, str(seen))
        line = next((line for line in done.stdout.splitlines() if line.startswith("REPORT ")), None)
        assert done.returncode == 0 and line is not None, done.stdout + done.stderr
        return json.loads(line.removeprefix("REPORT "))

    def build(self, shots: dict[str, dict[str, object]]) -> None:
        """Saves NAME.blend with the shot of inside/shot.py, for each name with its options."""
        done = self.script("shot", str(self.actor), str(self.folder), json.dumps(shots))
        assert done.returncode == 0, done.stdout + done.stderr

    def animate(self, blend: Path, output: str, worker: str | None = None) -> subprocess.CompletedProcess[str]:
        """`blender -b FILE -o OUTPUT -a`."""
        target = str(self.folder / output)
        if self.blender.module:
            return self.script("render", "animate", str(blend), target, worker=worker)
        return self.run(self.blender.command(str(blend), "-o", target, "-a"), worker)

    def avatar(self, blend: Path, *arguments: str, worker: str | None = None) -> subprocess.CompletedProcess[str]:
        """`blender -b FILE --command avatar ARGUMENTS`."""
        if self.blender.module:
            return self.script("render", "command", str(blend), *arguments, worker=worker)
        return self.run(self.blender.command(str(blend), "--command", "avatar", *arguments), worker)

    def run(self, command: list[str], worker: str | None = None) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            command,
            cwd=self.folder,
            env=self.environment(worker),
            capture_output=True,
            text=True,
            timeout=TIMEOUT,
            errors="replace",
        )

    def environment(self, worker: str | None = None) -> dict[str, str]:
        """This Blender's home, and the command line of its worker."""
        worker = self.worker() if worker is None else worker
        return {**os.environ, "BLENDER_USER_RESOURCES": str(self.folder / "home"), "AVATAR_WORKER": worker}

    def worker(self, *relay: str) -> str:
        """The command line of the real worker in this Python; relay: of relay.py, to go through it."""
        line = os.environ.get("AVATAR_TEST_WORKER")
        path = f"import sys; sys.path.insert(0, {str(ROOT)!r})"
        code = f"{path}; from avatar_core.worker.__main__ import main; main([])"
        real = shlex.split(line) if line else [sys.executable, "-I", "-c", code]
        if relay:
            real = [sys.executable, "-I", str(HERE / "relay.py"), *relay, "--", *real]
        return shlex.join([*self.blender.prefix, *real])

    def logged_worker(self, name: str, first: int = 0, last: int = 0) -> tuple[str, Path]:
        """A worker that logs its render requests, and is killed by those from first to last; the log."""
        log = self.folder / f"{name}.jsonl"
        log.unlink(missing_ok=True)
        log.touch()
        return self.worker(str(log), str(first), str(last)), log


def named() -> list[str]:
    """What the environment variable BLENDER names: executables, or interpreters with the module bpy."""
    return [entry.strip() for entry in re.split(f"[,{os.pathsep}]", os.environ.get("BLENDER", "")) if entry.strip()]


def candidates() -> list[str]:
    """The bpy module of this Python, then the named ones."""
    return [*([sys.executable] if importlib.util.find_spec("bpy") else []), *named()]


def probe(program: str, folder: Path) -> Blender | str:
    """The Blender, or why there is none."""
    found = shutil.which(program)
    if found is None:
        return f"{program} is not there"
    module = Path(found).name.startswith("python")
    line = _PROBE.format(python=sys.executable)
    command = [found, "-c", line] if module else [found, "-b", "--factory-startup", "--python-expr", line]
    try:
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=TIMEOUT)
    except (OSError, subprocess.TimeoutExpired) as error:
        return f"{program} does not run: {error}"
    answer = re.search(r"^PROBE ([\d.]+) (True|False)", done.stdout, re.MULTILINE)
    if answer is None:
        return f"{program} does not run: {(done.stdout + done.stderr)[-300:]}"
    version = tuple(int(part) for part in answer[1].split("."))
    name = f"{'bpy' if module else 'Blender'} {answer[1]}"
    return Blender(name, found, module, version, () if answer[2] == "True" else ("chroot", "/host"))


def prepared(program: str, actor: Path, folder: Path) -> Studio:
    """For scripts: a Blender with the extension as it stands. Raises SystemExit."""
    sys.path.insert(0, str(ROOT))
    import build_addon

    found = probe(program, folder)
    if isinstance(found, str):
        raise SystemExit(f"error: {found}")
    return equip(found, build_addon.build(folder / "package"), actor, folder)


def equip(blender: Blender, package: Path, actor: Path, folder: Path) -> Studio:
    """Installs the extension as its users do and lays out the folder."""
    shutil.copytree(HERE / "inside", folder / "inside", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(HERE / "run_in_blender.py", folder)
    studio = Studio(blender, folder, Path(shutil.copy(actor, folder / "tiny.actor")))
    if blender.module:  # has no command line: unpack where it looks
        target = folder / "home" / "extensions" / "user_default" / "neural_avatars"
        target.mkdir(parents=True)
        with zipfile.ZipFile(package) as archive:
            archive.extractall(target)
        return studio
    local = Path(shutil.copy(package, folder))
    install = ["--command", "extension", "install-file", "-r", "user_default", "-e", str(local)]
    done = studio.run([blender.program, "-b", *install])
    assert done.returncode == 0, done.stdout + done.stderr
    return studio
