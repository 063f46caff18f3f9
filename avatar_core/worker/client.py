"""Blender's side of the worker: starts the process, talks to it, and never hangs, whatever becomes of it.

    worker = Worker(python_command("/home/me/avatars/bin/python"))
    message = {"type": "render", "actor": path, "controls": ..., "camera": ..., "quality": "final"}
    reply = worker.request(message, poll=engine.test_break, progress=engine.update_progress)
    planes = Worker.full(reply)  # rgba [H, W, 4], depth [H, W], normal [H, W, 3], mask [H, W]

Python 3.11 and up, standard library and numpy only: this file is also copied into the Blender add-on, beside
`protocol.py` and `link.py`. Nothing here touches `bpy`, so any thread may call it.
"""

from __future__ import annotations

import atexit
import contextlib
import itertools
import threading
import time
import weakref
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from . import protocol
from .link import LOG_LINES, Link, ignore_sigpipe

CLIENT = "0.1.0"  # told to the worker, for its log
OLDEST_CORE = (0, 1)  # the oldest avatar_core this client works with
POLL_SECONDS = 0.05  # how often a waiting call looks at `poll`
PING_SECONDS = 2.0  # of waiting, between two pings
EMPTY_DEPTH = 1e10  # metres

Poll = Callable[[], bool]
Progress = Callable[[float], None]


class WorkerError(Exception):
    """What went wrong, as a sentence for the artist.

    kind: `missing` (no interpreter, no package), `version`, `died`, `timeout`, `cancelled`, `bad_input`,
    `absent` (the actor's file), `absent_motion`, `oom`, `protocol`, or `internal` (a mistake in avatar_core; its log
    has the traceback). log: the last lines the worker printed, which `message` quotes where they explain the failure.
    """

    def __init__(self, kind: str, message: str, log: str = "") -> None:
        super().__init__(message)
        self.kind = kind
        self.message = message
        self.log = log


@dataclass(frozen=True)
class Reply:
    """header: the answer's JSON. planes: float32, int32 or uint8 arrays by name, shaped."""

    header: dict[str, Any]
    planes: dict[str, np.ndarray]


def python_command(python: str) -> list[str]:
    """The command of a worker in the environment of the interpreter `python`, free of other settings."""
    return [python, "-I", "-m", "avatar_core.worker"]


class Worker:
    """A worker process that is started when needed and again after it died. Requests wait for each other.

    command: the program and its arguments (`python_command(...)`, or `["ssh", host, "avatar", "worker"]`).
    heartbeat: seconds of silence after which a busy worker counts as hung and is ended.
    grace: seconds that a worker has to obey a cancel before it is ended.
    """

    def __init__(
        self, command: Sequence[str], hello_timeout: float = 30.0, heartbeat: float = 30.0, grace: float = 5.0
    ) -> None:
        self.command = [str(part) for part in command]
        self.info: dict[str, Any] = {}  # of the last hello: proto, core, python, torch, device, backend, vram
        self._hello_timeout = hello_timeout
        self._heartbeat = heartbeat
        self._grace = grace
        self._lock = threading.Lock()
        self._ids = itertools.count(1)
        self._link: Link | None = None
        self._waiting = 0
        ignore_sigpipe()
        _workers.add(self)

    @property
    def alive(self) -> bool:
        return self._link is not None and self._link.alive

    @property
    def waiting(self) -> int:
        """How many requests wait for the running one: a preview gives way where it is not zero."""
        return self._waiting

    @property
    def log(self) -> str:
        """The last lines the worker printed."""
        return self._link.tail(LOG_LINES) if self._link else ""

    def start(self, poll: Poll | None = None) -> dict[str, Any]:
        """Start the process where none runs and greet it; returns `info`. Raises WorkerError."""
        with self._turn(poll):
            self._ensure(poll)
        return self.info

    def request(
        self,
        message: dict[str, Any],
        poll: Poll | None = None,
        progress: Progress | None = None,
        timeout: float | None = None,
    ) -> Reply:
        """Send `message` and wait for its answer.

        `poll` is called about every 50 ms from this thread; when it returns True the work is cancelled and
        WorkerError('cancelled') raised at once. `progress` gets 0 to 1. `timeout` bounds the wait in seconds.
        A worker that dies at work is started again and asked once more before WorkerError('died') is raised.
        """
        with self._turn(poll):
            for last in (False, True):
                link = self._ensure(poll)
                try:
                    return self._ask(link, message, poll, progress, timeout)
                except EOFError:
                    if link.closing:
                        raise WorkerError("cancelled", "The avatar renderer was closed.") from None
                    if last:
                        raise self._died(link, f"twice during '{message.get('type')}'") from None
        raise AssertionError("unreachable")

    def close(self) -> None:
        """End the process and the threads; a request that runs in another thread ends with 'cancelled'."""
        link, self._link = self._link, None
        if link:
            link.close()

    @staticmethod
    def full(reply: Reply) -> dict[str, np.ndarray]:
        """The planes of a frame at the size of its picture; outside the region nobody is there.

        Raises WorkerError('protocol') where region, size and planes do not fit together.
        """
        size: Any = reply.header.get("size")
        region: Any = reply.header.get("region")
        if not _whole(size, 2) or not _whole(region, 4):
            raise WorkerError("protocol", "The avatar renderer sent a frame without size or region.")
        (width, height), (x, y, w, h) = size, region
        if x + w > width or y + h > height or width * height > protocol.MAX_PAYLOAD // 40:
            raise WorkerError("protocol", f"The avatar renderer sent region {region} of a picture {size}.")
        planes = {}
        for name, part in reply.planes.items():
            if part.shape[:2] != (h, w):
                raise WorkerError("protocol", f"The avatar renderer sent plane '{name}' of shape {part.shape}.")
            if (w, h) == (width, height):
                planes[name] = part
                continue
            planes[name] = np.zeros((height, width, *part.shape[2:]), part.dtype)
            if name == "depth":
                planes[name].fill(EMPTY_DEPTH)
            planes[name][y : y + h, x : x + w] = part
        return planes

    @contextlib.contextmanager
    def _turn(self, poll: Poll | None) -> Iterator[None]:
        self._waiting += 1
        try:
            while not self._lock.acquire(timeout=POLL_SECONDS):
                if poll and poll():
                    raise WorkerError("cancelled", "Cancelled while another avatar was rendering.")
        finally:
            self._waiting -= 1
        try:
            yield
        finally:
            self._lock.release()

    def _ensure(self, poll: Poll | None) -> Link:
        if self._link and self._link.alive:
            return self._link
        if self._link:
            self._link.close()
        ignore_sigpipe()
        try:
            link = Link(self.command)
        except OSError as error:
            raise WorkerError(
                "missing",
                f"The avatar renderer cannot be started: {self.command[0]} {_why(error)}. In the add-on's"
                " preferences, set the path of a Python that has avatar-core installed.",
            ) from None
        self._link = link
        spoken = {"proto": protocol.PROTOCOL, "oldest": protocol.OLDEST_PROTOCOL}
        hello = {"type": "hello", "client": CLIENT, **spoken}
        try:
            self.info = self._ask(link, hello, poll, silence=self._hello_timeout).header
            self._check_version()
        except EOFError:
            raise self._not_started(link) from None
        except WorkerError:
            link.close(0)
            raise
        return link

    def _ask(
        self,
        link: Link,
        message: dict[str, Any],
        poll: Poll | None,
        progress: Progress | None = None,
        timeout: float | None = None,
        silence: float | None = None,
    ) -> Reply:
        """One message, one answer. Raises EOFError where the process ended, WorkerError otherwise."""
        number = next(self._ids)
        silence = silence or self._heartbeat
        kind = message.get("type")
        link.awaited = number
        try:
            link.send({**message, "id": number})
        except protocol.ProtocolError as error:
            raise WorkerError("bad_input", _sentence(error)) from None
        began = link.heard = pinged = time.monotonic()
        while True:
            answer = link.receive(POLL_SECONDS)  # or an earlier request's, that came as it was cancelled
            now = time.monotonic()
            if isinstance(answer, protocol.ProtocolError):
                link.close(0)
                raise WorkerError(
                    "protocol",
                    f"{_sentence(answer)} Something else prints into its answers, or it is another"
                    f" program: {' '.join(self.command)}",
                    link.tail(),
                )
            if answer is not None and answer.header["id"] == number:
                header = answer.header
                if header["type"] == "error":
                    raise self._refused(header, link)
                if header["type"] == "reply":
                    return Reply(header, _arrays(answer))
                if progress and header["type"] == "progress" and isinstance(header.get("value"), int | float):
                    progress(min(max(float(header["value"]), 0.0), 1.0))
            elif answer is None and now - link.heard > silence:
                link.close(0)
                text = f"The avatar renderer gave no sign of life for {silence:g} s and was ended."
                raise WorkerError("timeout", text, link.tail())
            elif answer is None and now - pinged > min(PING_SECONDS, silence / 3):
                pinged = now
                link.send({"type": "ping"})
            if timeout is not None and now - began > timeout:
                link.cancel(number, self._grace)
                raise WorkerError("timeout", f"The avatar renderer needs more than {timeout:g} s for '{kind}'.")
            if poll and poll():
                link.cancel(number, self._grace)
                raise WorkerError("cancelled", "Cancelled.")

    def _refused(self, header: dict[str, Any], link: Link) -> WorkerError:
        error = header.get("error")
        if not isinstance(error, dict):
            return WorkerError("protocol", "The avatar renderer sent an error without a message.", link.tail())
        return WorkerError(str(error.get("type", "internal")), str(error.get("message", "")), link.tail())

    def _died(self, link: Link, when: str) -> WorkerError:
        code = link.wait(1.0)
        link.close(0)
        text = f"The avatar renderer ended {when} ({_exit(code)}).{link.quoted()}"
        return WorkerError("died", text, link.tail())

    def _not_started(self, link: Link) -> WorkerError:
        if link.closing:
            return WorkerError("cancelled", "The avatar renderer was closed.")
        code = link.wait(1.0)
        link.close(0)
        tail = link.tail()
        program = self.command[0]
        if "No module named" in tail and "avatar_core" in tail:
            return WorkerError(
                "missing",
                f"{program} has no avatar_core. Install it there with: {program} -m pip install avatar-core",
                tail,
            )
        if code == 127:
            text = f"The command was not found: {' '.join(self.command)}.{link.quoted()}"
            return WorkerError("missing", text, tail)
        return self._died(link, "before it could answer")

    def _check_version(self) -> None:
        core = str(self.info.get("core", "0"))
        numbers = tuple(int(part) for part in core.split(".")[:2] if part.isdigit())
        spoken = range(protocol.OLDEST_PROTOCOL, protocol.PROTOCOL + 1)
        if numbers < OLDEST_CORE or self.info.get("proto") not in spoken:
            needed = ".".join(map(str, OLDEST_CORE))
            raise WorkerError(
                "version",
                f"This add-on needs avatar-core {needed} or newer, the worker has {core}. Update it with:"
                f" {self.command[0]} -m pip install --upgrade avatar-core",
            )


_workers: weakref.WeakSet[Worker] = weakref.WeakSet()


@atexit.register
def _close_all() -> None:
    for worker in list(_workers):
        worker.close()


def _arrays(message: protocol.Message) -> dict[str, np.ndarray]:
    return {
        name: np.ndarray(plane.shape, plane.dtype, data if plane.size else None)
        for name, (plane, data) in message.buffers().items()
    }


def _whole(value: Any, length: int) -> bool:
    return isinstance(value, list) and len(value) == length and all(type(x) is int and x >= 0 for x in value)


def _sentence(error: Exception) -> str:
    text = str(error)
    return text[:1].upper() + text[1:].rstrip(".") + "."


def _exit(code: int | None) -> str:
    if code is None:
        return "no exit code"
    if code == -9:
        return "killed by signal 9; the usual cause is too little memory"
    return f"killed by signal {-code}" if code < 0 else f"exit code {code}"


def _why(error: OSError) -> str:
    if isinstance(error, FileNotFoundError):
        return "does not exist"
    return f"is not a program that may be run ({error.strerror})"
