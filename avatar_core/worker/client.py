"""Blender's side of the worker: starts the process, talks to it, and never hangs, whatever becomes of it.

    worker = Worker(python_command("/home/me/avatars/bin/python"))
    reply = worker.request({"type": "render", "actor": path, "controls": ..., "camera": ..., "quality": "final"},
                           poll=engine.test_break, progress=engine.update_progress)
    planes = Worker.full(reply)  # rgba [H, W, 4], depth [H, W], normal [H, W, 3], mask [H, W]

Python 3.11 and up, standard library and numpy only: this file is also copied into the Blender add-on, beside
`protocol.py`. Nothing here touches `bpy`, so any thread may call it.
"""

from __future__ import annotations

import atexit
import contextlib
import itertools
import os
import signal
import subprocess
import threading
import time
import weakref
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from typing import Any

import numpy as np

from . import protocol

CLIENT = "0.1.0"  # told to the worker, for its log
OLDEST_CORE = (0, 1)  # the oldest avatar_core this client works with
POLL_SECONDS = 0.05  # how often a waiting call looks at `poll`
PING_SECONDS = 2.0  # of waiting, between two pings
TAIL_LINES = 12  # of the worker's log, quoted in errors
_LOG_LINES = 400
_FINAL = ("reply", "error")  # types that end a request
EMPTY_DEPTH = 1e10  # metres

Poll = Callable[[], bool]
Progress = Callable[[float], None]


class WorkerError(Exception):
    """What went wrong, as a sentence for the artist.

    kind: `missing` (no interpreter, no package), `version`, `died`, `timeout`, `cancelled`, `bad_input`, `oom`,
    `protocol`, or `internal` (a mistake in avatar_core; its log has the traceback). log: the last lines the worker
    printed, which `message` quotes where they explain the failure.
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
    """The command of a worker in the environment of the interpreter `python`, isolated from the user's settings."""
    return [python, "-I", "-m", "avatar_core.worker"]


def clean_environment() -> dict[str, str]:
    """This process's environment without what would lead another Python astray (Blender, Steam and snap set it)."""
    astray = ("PYTHON", "LD_LIBRARY_PATH", "DYLD_")
    return {name: value for name, value in os.environ.items() if not name.upper().startswith(astray)}


def ignore_sigpipe() -> None:
    """Have writes to a dead worker fail with an error, where the default would end the whole process.

    Only the main thread may change it; elsewhere this does nothing (the writing thread blocks the signal too).
    """
    if hasattr(signal, "SIGPIPE") and threading.current_thread() is threading.main_thread():
        if signal.getsignal(signal.SIGPIPE) == signal.SIG_DFL:
            signal.signal(signal.SIGPIPE, signal.SIG_IGN)


class Worker:
    """A worker process that is started when needed and again after it died. Requests wait for each other.

    command: the program and its arguments (`python_command(...)`, or `["ssh", host, "avatar-worker"]`).
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
        self._link: _Link | None = None
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
        return self._link.tail(_LOG_LINES) if self._link else ""

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
        WorkerError('cancelled') raised at once. `progress` gets 0 to 1. `timeout` bounds the whole wait in seconds.
        A worker that dies at work is started again and asked once more before WorkerError('died') is raised.
        """
        with self._turn(poll):
            for last in (False, True):
                link = self._ensure(poll)
                try:
                    return self._ask(link, message, poll, progress, timeout)
                except EOFError:
                    if link.closing:
                        raise WorkerError("cancelled", "The avatar worker was closed.") from None
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
        size, region = reply.header.get("size"), reply.header.get("region")
        if not _whole(size, 2) or not _whole(region, 4):
            raise WorkerError("protocol", "The avatar worker sent a frame without size or region.")
        (width, height), (x, y, w, h) = size, region
        if x + w > width or y + h > height or width * height > protocol.MAX_PAYLOAD // 36:
            raise WorkerError("protocol", f"The avatar worker sent region {region} of a picture of size {size}.")
        planes = {}
        for name, part in reply.planes.items():
            if part.shape[:2] != (h, w):
                raise WorkerError("protocol", f"The avatar worker sent plane '{name}' of shape {part.shape}.")
            if (w, h) == (width, height):
                planes[name] = part
                continue
            fill = EMPTY_DEPTH if name == "depth" else 0
            planes[name] = np.full((height, width, *part.shape[2:]), fill, part.dtype)
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

    def _ensure(self, poll: Poll | None) -> _Link:
        if self._link and self._link.alive:
            return self._link
        if self._link:
            self._link.close()
        ignore_sigpipe()
        try:
            link = _Link(self.command)
        except OSError as error:
            raise WorkerError(
                "missing",
                f"The avatar worker cannot be started: {self.command[0]} {_why(error)}. Set the path of a Python that"
                " has avatar-core installed in the add-on's preferences.",
            ) from None
        self._link = link
        hello = {"type": "hello", "client": CLIENT, "proto": protocol.PROTOCOL, "oldest": protocol.OLDEST_PROTOCOL}
        try:
            self.info = self._ask(link, hello, poll, None, None, self._hello_timeout).header
            self._check_version()
        except EOFError:
            raise self._not_started(link) from None
        except WorkerError:
            link.close(0)
            raise
        return link

    def _ask(
        self,
        link: _Link,
        message: dict[str, Any],
        poll: Poll | None,
        progress: Progress | None,
        timeout: float | None,
        silence: float | None = None,
    ) -> Reply:
        """One message, one answer. Raises EOFError where the process ended, WorkerError otherwise."""
        number = next(self._ids)
        silence = silence or self._heartbeat
        kind = message.get("type")
        link.awaited = number
        link.send({**message, "id": number})
        began = link.heard = pinged = time.monotonic()
        while True:
            answer = link.receive(POLL_SECONDS)  # or an earlier request's, that came as it was cancelled
            now = time.monotonic()
            if isinstance(answer, protocol.ProtocolError):
                link.close(0)
                raise WorkerError(
                    "protocol",
                    f"{_sentence(answer)} Something prints into the worker's channel, or it is another program:"
                    f" {' '.join(self.command)}",
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
                raise WorkerError(
                    "timeout", f"The avatar worker gave no sign of life for {silence:g} s and was ended.", link.tail()
                )
            elif answer is None and now - pinged > min(PING_SECONDS, silence / 3):
                pinged = now
                link.send({"type": "ping"})
            if timeout is not None and now - began > timeout:
                link.cancel(number, self._grace)
                raise WorkerError("timeout", f"The avatar worker did not finish '{kind}' within {timeout:g} s.")
            if poll and poll():
                link.cancel(number, self._grace)
                raise WorkerError("cancelled", "Cancelled.")

    def _refused(self, header: dict[str, Any], link: _Link) -> WorkerError:
        error = header.get("error")
        if not isinstance(error, dict):
            return WorkerError("protocol", "The avatar worker sent an error without a message.", link.tail())
        return WorkerError(str(error.get("type", "internal")), str(error.get("message", "")), link.tail())

    def _died(self, link: _Link, when: str) -> WorkerError:
        code = link.wait(1.0)
        link.close(0)
        return WorkerError("died", f"The avatar worker ended {when} ({_exit(code)}).{link.quoted()}", link.tail())

    def _not_started(self, link: _Link) -> WorkerError:
        if link.closing:
            return WorkerError("cancelled", "The avatar worker was closed.")
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
            return WorkerError("missing", f"The command was not found: {' '.join(self.command)}.{link.quoted()}", tail)
        return self._died(link, "before it could answer")

    def _check_version(self) -> None:
        core = str(self.info.get("core", "0"))
        numbers = tuple(int(part) for part in core.split(".")[:2] if part.isdigit())
        if numbers < OLDEST_CORE or self.info.get("proto") not in range(
            protocol.OLDEST_PROTOCOL, protocol.PROTOCOL + 1
        ):
            needed = ".".join(map(str, OLDEST_CORE))
            raise WorkerError(
                "version",
                f"This add-on needs avatar-core {needed} or newer, the worker has {core}. Update it with:"
                f" {self.command[0]} -m pip install --upgrade avatar-core",
            )


class _Link:
    """One process and its three threads: reader, writer, log."""

    def __init__(self, command: list[str]) -> None:
        self.awaited = 0  # the id whose answer somebody waits for; answers to other ids are dropped
        self.heard = time.monotonic()
        self.closing = False
        self._ended = False  # the worker has closed its end
        self._finished = 0  # the last id that was answered; ids rise, and are worked on one after the other
        self._inbox: SimpleQueue[protocol.Message | protocol.ProtocolError | None] = SimpleQueue()
        self._outbox: SimpleQueue[list[memoryview] | None] = SimpleQueue()
        self._lines: deque[str] = deque(maxlen=_LOG_LINES)
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            bufsize=0,
            env=clean_environment(),
            start_new_session=True,  # a Ctrl-C in Blender's terminal is for Blender
            creationflags=getattr(subprocess, "CREATE_NO_WINDOW", 0),
        )
        assert self._process.stdin and self._process.stdout and self._process.stderr
        self._stdin, self._stdout, self._stderr = self._process.stdin, self._process.stdout, self._process.stderr
        _widen(self._stdout.fileno())
        self._threads = [
            threading.Thread(target=run, name=f"avatar-worker-{name}", daemon=True)
            for name, run in (("reader", self._read), ("writer", self._write), ("log", self._listen))
        ]
        for thread in self._threads:
            thread.start()

    @property
    def alive(self) -> bool:
        return not self.closing and not self._ended and self._process.poll() is None

    def send(self, header: dict[str, Any]) -> None:
        """Never blocks: a thread writes it. Raises WorkerError for what is not JSON."""
        try:
            self._outbox.put(protocol.encode(header))
        except protocol.ProtocolError as error:
            raise WorkerError("bad_input", _sentence(error)) from None

    def receive(self, seconds: float) -> protocol.Message | protocol.ProtocolError | None:
        """The next message for the awaited id; None where none came in time. Raises EOFError after the last."""
        try:
            answer = self._inbox.get(timeout=seconds)
        except Empty:
            return None
        if answer is None:
            raise EOFError
        return answer

    def cancel(self, number: int, grace: float) -> None:
        """Tell the worker to stop, and end it where it does not within `grace` seconds. Returns at once."""
        self.awaited = 0
        self.send({"type": "cancel", "id": number})
        timer = threading.Timer(grace, self._end_if_disobeyed, (number,))
        timer.daemon = True
        timer.start()

    def wait(self, seconds: float) -> int | None:
        with contextlib.suppress(subprocess.TimeoutExpired):
            return self._process.wait(seconds)
        return None

    def close(self, grace: float = 2.5) -> None:
        """End of input tells the worker to leave; it is killed where it stays longer than `grace` seconds."""
        self.closing = True
        self._outbox.put(None)
        if grace and self.wait(grace) is None:
            grace = 0
        if not grace:
            self._kill()
            self.wait(5.0)
        for thread in self._threads:
            thread.join(1.0)

    def tail(self, lines: int = TAIL_LINES) -> str:
        return "\n".join(list(self._lines)[-lines:])

    def quoted(self) -> str:
        tail = self.tail()
        return f" Its last words:\n{tail}" if tail else " It printed nothing."

    def _end_if_disobeyed(self, number: int) -> None:
        if self._finished < number and self.alive:
            self._kill()

    def _kill(self) -> None:
        if self._process.poll() is not None:
            return
        if hasattr(os, "killpg"):
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)  # with what a wrapper script started
        else:
            self._process.kill()

    def _read(self) -> None:
        def readinto(view: memoryview) -> int | None:
            count = self._stdout.readinto(view)  # type: ignore[attr-defined]
            self.heard = time.monotonic()
            return count

        try:
            while True:
                message = protocol.read_message(readinto, allocate=lambda size: np.empty(size, np.uint8))
                number = message.header.get("id", 0)
                if message.header["type"] in _FINAL:
                    self._finished = max(self._finished, number)
                if number == self.awaited and number:
                    self._inbox.put(message)
        except protocol.ProtocolError as error:
            self._inbox.put(error)
        except (EOFError, OSError, ValueError):
            pass
        self._ended = True
        self._inbox.put(None)
        self._stdout.close()

    def _write(self) -> None:
        if hasattr(signal, "pthread_sigmask"):
            signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGPIPE})
        with contextlib.suppress(OSError, ValueError):
            while (buffers := self._outbox.get()) is not None:
                protocol.write_all(self._stdin.write, buffers)
        with contextlib.suppress(OSError):
            self._stdin.close()

    def _listen(self) -> None:
        rest = b""
        with contextlib.suppress(OSError, ValueError):
            while data := self._stderr.read(1 << 16):
                *lines, rest = (rest + data)[-1 << 20 :].replace(b"\r", b"\n").split(b"\n")
                self._lines.extend(line.decode("utf-8", "replace") for line in lines if line.strip())
        if rest.strip():
            self._lines.append(rest.decode("utf-8", "replace"))
        self._stderr.close()


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


def _whole(value: object, length: int) -> bool:
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


def _widen(descriptor: int) -> None:
    """A larger pipe where the system has it (Linux): fewer switches between two processes per frame."""
    with contextlib.suppress(ImportError, AttributeError, OSError):
        import fcntl

        fcntl.fcntl(descriptor, fcntl.F_SETPIPE_SZ, 1 << 20)
