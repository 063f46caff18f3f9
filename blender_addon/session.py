# SPDX-License-Identifier: GPL-3.0-or-later
"""The one worker process of this Blender, shared by the engine, the operators and the command line."""

from __future__ import annotations

import base64
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from .client import Poll, Progress, Reply, Worker, WorkerError
from .errors import SceneError
from .link import ignore_sigpipe
from .sending import send
from .worker_setup import Setup, limit_threads, read_setup

LIVE_THREAD = "avatars in the viewport"  # the name of threads that may not touch bpy


@dataclass(frozen=True)
class ActorFacts:
    """What the worker says about an actor file."""

    schema: dict[str, Any]  # avatar_core.controls.ControlSchema as a dictionary
    metadata: dict[str, Any]
    limbs: tuple[str, ...]  # names of those that `Planes.limb` counts; empty where its pictures tell of none


@dataclass(frozen=True)
class Planes:
    """One rendered region, top row first, float32."""

    rgba: np.ndarray  # [H, W, 4] scene-linear, premultiplied
    depth: np.ndarray  # [H, W] metres, 1e10 where nothing is
    normal: np.ndarray  # [H, W, 3] avatar_core's world
    mask: np.ndarray  # [H, W] 0 to 1
    limb: np.ndarray | None = None  # [H, W] the limb that shows, counted from 1; 0: none. Where the actor has limbs


class Session:
    """Starts the worker when it is needed, again after it died, and anew when its command changed."""

    def __init__(self) -> None:
        self.status = ""  # one line for the panels; empty: nothing is known yet
        self.failed = False  # status is an error
        self._worker: Worker | None = None
        self._setup: Setup | None = None  # of the worker
        self._settled: Setup | None = None  # read from the preferences
        self._facts: dict[tuple[str, int, int], ActorFacts] = {}
        self._sent: dict[tuple[str, int, int], str] = {}  # where the worker's machine keeps what it was sent
        self._lock = threading.Lock()

    @property
    def running(self) -> bool:
        return self._worker is not None and self._worker.alive

    @property
    def contended(self) -> bool:
        """Whether somebody waits for the worker: previews give way."""
        return self._worker is not None and self._worker.waiting > 0

    @property
    def shipped_actors(self) -> str:
        """The folder of actors that comes with avatar-core, empty until a worker has told."""
        return str(self._worker.info.get("actors") or "") if self._worker is not None else ""

    def known(self, path: Path) -> ActorFacts | None:
        """What `actor` has been told before about this state of the file, without asking the worker."""
        return self._facts.get((str(path), *_stamp(path)))

    def check(self) -> dict[str, Any]:
        """Greets the worker, starting it where needed. Raises WorkerError; SceneError where none is set."""
        try:
            info = self._started()[0].start()
        except (WorkerError, SceneError) as error:
            self._note(str(error), failed=True)
            raise
        self._note(describe(info))
        return info

    def actor(self, path: Path, poll: Poll | None = None, chosen: bool = False) -> ActorFacts:
        """What is in an actor file; asked once for each state of the file. chosen: just now, and no avatar's yet.

        Raises WorkerError, SceneError.
        """
        known = self.known(path)
        if known is None:
            key = (str(path), *_stamp(path))
            try:
                header = self._request({"type": "load", "actor": str(path)}, poll, None)[0]
            except WorkerError as error:
                if error.kind != "absent":
                    raise
                way = "choose a file that is there" if chosen else "press Find Actor File in the sidebar, tab Avatar"
                raise SceneError(f"{error}: {way}.") from error
            known = self._facts[key] = ActorFacts(header["schema"], header["metadata"], tuple(header.get("limbs", ())))
        return known

    def body(self, path: Path) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        """Names and arrays of the body that carries an actor. Raises WorkerError, SceneError."""
        return self._request({"type": "body", "actor": str(path)}, None, None)

    def motion(
        self, path: Path, file: Path, up: str | None, betas: np.ndarray
    ) -> tuple[float | None, np.ndarray, np.ndarray]:
        """A recorded motion for an actor of this shape: frames a second where known, pose [T, J, 3], transl [T, 3].

        Raises WorkerError, SceneError.
        """
        try:
            return self._motion({"actor": str(path), "path": str(file), "up": up, "betas": betas.tolist()})
        except WorkerError as error:
            if error.kind != "absent_motion":
                raise
            raise SceneError(f"{error}: choose a recording that is here.") from error

    def clip(self, path: Path, name: str, betas: np.ndarray) -> tuple[float | None, np.ndarray, np.ndarray]:
        """One round of a motion that comes with avatar-core, as `motion` gives it. Raises WorkerError, SceneError."""
        return self._motion({"actor": str(path), "clip": name, "betas": betas.tolist()})

    def rigged(self, path: Path, controls: dict[str, Any], detail: int) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        """Names and arrays of a person's mesh (avatar_core.rigged_mesh). Raises WorkerError, SceneError."""
        message = {"type": "rigged", "actor": str(path), "controls": controls, "detail": detail}
        return self._request(message, None, None)

    def render(
        self,
        path: Path,
        controls: dict[str, Any],
        camera: dict[str, Any],
        quality: str,
        poll: Poll | None = None,
        progress: Progress | None = None,
    ) -> Planes:
        """One actor, alone. Raises WorkerError, SceneError."""
        message = {
            "type": "render",
            "actor": str(path),
            "controls": controls,
            "camera": camera,
            "quality": quality,
        }
        header, planes = self._request(message, poll, progress, whole=True)
        if header["size"] != [camera["width"], camera["height"]] or not _PLANES.issubset(planes):
            raise WorkerError("protocol", "The avatar renderer sent another picture than was asked for.")
        return Planes(planes["rgba"], planes["depth"], planes["normal"], planes["mask"], planes.get("limb"))

    def appearance(self, path: Path, picture: np.ndarray) -> list[float]:
        """The vector of the person in a picture [256, 256, 3] uint8, display sRGB. Raises WorkerError, SceneError."""
        encoded = base64.b64encode(np.ascontiguousarray(picture, np.uint8).tobytes()).decode("ascii")
        header, _ = self._request({"type": "appearance", "actor": str(path), "picture": encoded}, None, None)
        return header["appearance"]

    def close(self) -> None:
        with self._lock:
            worker, self._worker = self._worker, None
        if worker:
            worker.close()

    def _motion(self, message: dict[str, Any]) -> tuple[float | None, np.ndarray, np.ndarray]:
        header, planes = self._request({"type": "motion", **message}, None, None)
        return header["fps"], planes["pose"].astype(np.float64), planes["transl"].astype(np.float64)

    def _request(
        self, message: dict[str, Any], poll: Poll | None, progress: Progress | None, whole: bool = False
    ) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        try:
            worker, setup = self._started()
            reply = self._ask(worker, setup, message, poll, progress)
            planes = worker.full(reply) if whole else reply.planes
        except (WorkerError, SceneError) as error:
            if getattr(error, "kind", "") not in ("cancelled", "bad_input", *_ABSENT):
                self._note(str(error), failed=True)
            raise
        self._note(describe(worker.info))
        return reply.header, planes

    def _ask(
        self, worker: Worker, setup: Setup, message: dict[str, Any], poll: Poll | None, progress: Progress | None
    ) -> Reply:
        """Files are named as the worker's machine knows them; those that it lacks are sent there."""
        files = {name: Path(message[name]) for name in _PATHS & message.keys()}
        keys = {name: (str(path), *_stamp(path)) for name, path in files.items()}
        named = message | {name: self._sent.get(keys[name], setup.there(message[name])) for name in files}
        lacking = dict(files)
        while True:
            try:
                return worker.request(named, poll, progress)
            except WorkerError as error:
                name = _ABSENT.get(error.kind, "")
                path = lacking.pop(name, None)
                if path is None or not path.exists():
                    raise
            self._note(f"Sending {path.name} to the renderer's machine …")
            named[name] = self._sent[keys[name]] = send(worker, path, poll)

    def settle(self) -> None:
        """Reads the preferences for threads that may not: called from the main one. Raises SceneError."""
        self._settled = read_setup()

    def _started(self) -> tuple[Worker, Setup]:
        live = threading.current_thread().name == LIVE_THREAD
        setup = self._settled if live and self._settled else read_setup()
        with self._lock:
            if self._worker is None or self._setup != setup:
                if self._worker:
                    self._worker.close()
                limit_threads(setup.threads)
                self._worker, self._setup = Worker(setup.command), setup
            return self._worker, setup

    def _note(self, status: str, failed: bool = False) -> None:
        self.status, self.failed = status, failed


_PATHS = {"actor", "path"}  # fields of requests that name files
_ABSENT = {"absent": "actor", "absent_motion": "path"}  # errors of a worker whose machine lacks one
_PLANES = {"rgba", "depth", "normal", "mask"}
current = Session()


def describe(info: dict[str, Any]) -> str:
    """One line: what renders, where."""
    where = info.get("device", "?")
    name = info.get("name")
    memory = info.get("vram")
    free = f", {memory[0] / 2**30:.1f} of {memory[1] / 2**30:.1f} GiB free" if memory else ""
    return (
        f"avatar-core {info.get('core', '?')} on {where}{f' ({name})' if name else ''}{free},"
        f" {info.get('backend', '?')} kernels, torch {info.get('torch', '?')}"
    )


def register() -> None:
    ignore_sigpipe()


def unregister() -> None:
    current.close()


def _stamp(path: Path) -> tuple[int, int]:
    """Changes when the file does; zeros where only the worker's machine has the file."""
    try:
        status = path.stat()
    except OSError:
        return 0, 0
    return status.st_mtime_ns, status.st_size
