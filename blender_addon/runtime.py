# SPDX-License-Identifier: GPL-3.0-or-later
"""The renderer installed beside Blender: a Python environment of its own that has avatar-core. No bpy here.

Every installation grows in a new folder, and the file `complete` is written into it last, after a worker from there
has answered. A folder without that file counts for nothing: what was cancelled, or cut off with Blender, is never
used. (A finished environment cannot be renamed instead: its programs know their own path.)
"""

from __future__ import annotations

import atexit
import contextlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import deque
from pathlib import Path

from .client import Worker, WorkerError, python_command
from .link import clean_environment

PACKAGE = "avatar-core"  # in a package index, where the extension carries no wheel
OLDEST = (3, 11)
LOG = "install.log"
_COMPLETE = "complete"
_NAMES = ("python3.12", "python3.13", "python3.11", "python3", "python")
_PLACES = ("/usr/local/bin", "/opt/homebrew/bin", "~/.local/bin")  # not searched by a Blender that an icon started
_ASK = "import sys, venv, ensurepip; print(*sys.version_info[:2])"
_ANSWER_SECONDS = 20  # for a Python to tell what it is
_HELLO_SECONDS = 180  # the first start compiles Python's files, and a virus scanner reads them
_KEPT = 30  # last lines of pip's that a failure is looked for in


class InstallError(Exception):
    """Why nothing was installed; one sentence: what, where, what to do."""


class Installation:
    """One installation into the folder `home`, in a thread of its own; `source` is a wheel or a package's name."""

    def __init__(self, home: Path, source: str, python: str | None = None) -> None:
        self.step = "Looking for a Python"
        self.error = ""  # why it failed; empty where it was cancelled
        self.python: Path | None = None  # of the finished environment
        self.log = home / LOG
        self._home, self._source, self._given = home, source, python
        self._began = time.monotonic()
        self._process: subprocess.Popen[bytes] | None = None
        self._stopped = False
        self._thread = threading.Thread(target=self._run, name="installs the renderer", daemon=True)
        self._thread.start()
        atexit.register(self.stop)

    @property
    def running(self) -> bool:
        return self._thread.is_alive()

    @property
    def stopped(self) -> bool:
        return self._stopped

    @property
    def seconds(self) -> int:
        return int(time.monotonic() - self._began)

    def stop(self) -> None:
        """Ends it and waits until its folder is gone."""
        if not self.running:
            return
        self._stopped = True
        self._kill()
        self._thread.join()

    def wait(self) -> None:
        self._thread.join()

    def _run(self) -> None:
        folder = None
        try:
            self._home.mkdir(parents=True, exist_ok=True)
            folder = Path(tempfile.mkdtemp(prefix="environment-", dir=self._home))
            self._install(folder)
        except (InstallError, WorkerError) as error:
            self.error = "" if self._stopped else str(error)
        except OSError as error:
            self.error = f"The renderer cannot be installed in {self._home}: {error.strerror or error}."
        except Exception as error:  # a thread that dies would leave the panel waiting
            self.error = f"The installation failed: {type(error).__name__}: {error}"
        if self.python is None and folder is not None:
            shutil.rmtree(folder, ignore_errors=True)

    def _install(self, folder: Path) -> None:
        with self.log.open("w", encoding="utf-8") as log:
            base = self._given or find_python()
            self.step = f"Making an environment with {base}"
            self._call([base, "-I", "-m", "venv", str(folder)], log)
            python = environment_python(folder)
            self.step = "Fetching packages"
            quiet = ["--no-input", "--disable-pip-version-check", "--progress-bar", "off"]
            self._call([str(python), "-I", "-m", "pip", "install", *quiet, self._source], log)
            self.step = "Trying the renderer"
            worker = Worker(python_command(str(python)), hello_timeout=_HELLO_SECONDS)
            try:
                log.write(f"{worker.start(lambda: self._stopped)}\n")
            finally:
                worker.close()
        (folder / _COMPLETE).touch()
        self.python = python

    def _call(self, command: list[str], log: object) -> None:
        """Runs a program to its end, its lines into the log. Raises InstallError."""
        process = self._process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=clean_environment(),
            start_new_session=True,
            creationflags=getattr(subprocess, "CREATE_NO_WINDOW", 0),
        )
        if self._stopped:  # in between
            self._kill()
        last: deque[str] = deque(maxlen=_KEPT)
        assert process.stdout is not None
        with process.stdout as lines:
            for raw in lines:
                line = raw.decode("utf-8", "replace").strip()
                print(line, file=log, flush=True)  # type: ignore[call-overload]
                if line:
                    last.append(line)
                    self.step = line
        code = process.wait()
        if self._stopped:
            raise InstallError("Cancelled.")
        if code:
            said = next((line for line in last if line.startswith("ERROR:")), last[-1] if last else f"exit code {code}")
            reason = said.removeprefix("ERROR:").strip().rstrip(".")
            raise InstallError(f"The renderer was not installed: {reason}. All that was said is in {self.log}")

    def _kill(self) -> None:
        process = self._process
        if process is None or process.poll() is not None:
            return
        with contextlib.suppress(ProcessLookupError):
            if hasattr(os, "killpg"):
                os.killpg(process.pid, signal.SIGKILL)  # with what pip has started
            else:
                process.kill()


def installed(home: Path) -> Path | None:
    """The Python of the newest complete environment."""
    found = [place for place in home.glob(f"environment-*/{_COMPLETE}") if environment_python(place.parent).exists()]
    return environment_python(max(found, key=lambda place: place.stat().st_mtime_ns).parent) if found else None


def tidy(home: Path) -> None:
    """Deletes all environments but the newest complete one; whoever used them has ended."""
    used = installed(home)
    for folder in home.glob("environment-*"):
        if used is None or environment_python(folder) != used:
            shutil.rmtree(folder, ignore_errors=True)


def environment_python(folder: Path) -> Path:
    return folder / "Scripts" / "python.exe" if os.name == "nt" else folder / "bin" / "python"


def source(package: Path) -> str:
    """What pip is asked for: the wheel that the extension carries, else the package's name."""
    return next((str(path) for path in sorted(package.glob("avatar_core-*.whl"))), PACKAGE)


def find_python() -> str:
    """A Python that can make environments: of the system, else Blender's own. Raises InstallError."""
    places = os.pathsep.join([os.environ.get("PATH", ""), *map(os.path.expanduser, _PLACES)])
    named = [shutil.which(name, path=places) for name in _NAMES]
    reasons = []
    for program in dict.fromkeys(filter(None, [*named, sys.executable])):
        reason = _unfit(program)
        if not reason:
            return program
        reasons.append(f"{program} {reason}")
    raise InstallError(
        f"No Python {'.'.join(map(str, OLDEST))} or newer that can make environments was found"
        f" ({'; '.join(reasons) or 'there is none'}). Install one from python.org, or with the system's package manager"
        " (Debian and Ubuntu: python3-venv), and try again."
    )


def install_command(target: str) -> str:
    """What a person types into a terminal of this system to install `target` by hand."""
    if os.name == "nt":
        place = r"%USERPROFILE%\avatars"
        return f'py -3 -m venv "{place}" && "{place}\\Scripts\\python" -m pip install "{target}"'
    return f"python3 -m venv ~/avatars && ~/avatars/bin/python -m pip install '{target}'"


def python_by_hand() -> str:
    """The Python that `install_command` makes, as the preferences take it."""
    return r"~\avatars\Scripts\python.exe" if os.name == "nt" else "~/avatars/bin/python"


def _unfit(program: str) -> str:
    """Why a Python cannot be used; empty where it can."""
    try:
        done = subprocess.run(
            [program, "-I", "-c", _ASK],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=_ANSWER_SECONDS,
            env=clean_environment(),
            creationflags=getattr(subprocess, "CREATE_NO_WINDOW", 0),
        )
        version = tuple(int(part) for part in done.stdout.split())
    except (OSError, ValueError, subprocess.TimeoutExpired):
        return "does not run"
    if done.returncode or len(version) != len(OLDEST):
        return "lacks venv" if "ensurepip" in done.stderr or "venv" in done.stderr else "does not run"
    return "" if version >= OLDEST else f"is {'.'.join(map(str, version))}"
