"""One worker process as Blender holds it: its pipes, the threads that serve them, and how it is ended.

Python 3.11 and up, standard library and numpy only: this file is also copied into the Blender add-on, beside
`protocol.py` and `client.py`.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import threading
import time
from collections import deque
from queue import Empty, SimpleQueue
from typing import Any

import numpy as np

from . import protocol

TAIL_LINES = 12  # of the worker's log, quoted in errors
LOG_LINES = 400  # of it that are kept
_FINAL = ("reply", "error")  # types that end a request


def clean_environment() -> dict[str, str]:
    """This process's environment without what leads another Python astray (Blender, Steam, snap set it)."""
    astray = ("PYTHON", "LD_LIBRARY_PATH", "DYLD_")
    return {name: value for name, value in os.environ.items() if not name.upper().startswith(astray)}


def ignore_sigpipe() -> None:
    """Have writes to a dead worker fail with an error, where the default would end the whole process.

    Only the main thread may change it; elsewhere this does nothing (the writing thread blocks it too).
    """
    main = threading.current_thread() is threading.main_thread()
    if main and hasattr(signal, "SIGPIPE") and signal.getsignal(signal.SIGPIPE) == signal.SIG_DFL:
        signal.signal(signal.SIGPIPE, signal.SIG_IGN)


class Link:
    """One process and its three threads: reader, writer, log. Raises OSError where it cannot be started."""

    def __init__(self, command: list[str]) -> None:
        self.awaited = 0  # the id whose answer somebody waits for; answers to other ids are dropped
        self.heard = time.monotonic()
        self.closing = False
        self._ended = False  # the worker has closed its end
        self._finished = 0  # the last id that was answered; ids rise, and are worked on one after the other
        self._timers: list[threading.Timer] = []  # of cancels
        self._inbox: SimpleQueue[protocol.Message | protocol.ProtocolError | None] = SimpleQueue()
        self._outbox: SimpleQueue[list[memoryview] | None] = SimpleQueue()
        self._lines: deque[str] = deque(maxlen=LOG_LINES)
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
        self._stdin, self._stdout = self._process.stdin, self._process.stdout
        self._stderr = self._process.stderr
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
        """Never blocks: a thread writes it. Raises ProtocolError for what is not JSON."""
        self._outbox.put(protocol.encode(header))

    def receive(self, seconds: float) -> protocol.Message | protocol.ProtocolError | None:
        """The next message; None where none came in time. Raises EOFError after the last."""
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
        self._timers = [running for running in self._timers if running.is_alive()] + [timer]
        timer.start()

    def wait(self, seconds: float) -> int | None:
        with contextlib.suppress(subprocess.TimeoutExpired):
            return self._process.wait(seconds)
        return None

    def close(self, grace: float = 2.5) -> None:
        """End of input tells the worker to leave; it is killed where it stays longer than `grace` seconds."""
        self.closing = True
        for timer in self._timers:
            timer.cancel()
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


def _widen(descriptor: int) -> None:
    """A larger pipe where the system has it (Linux): fewer switches between two processes per frame."""
    with contextlib.suppress(ImportError, AttributeError, OSError):
        import fcntl

        fcntl.fcntl(descriptor, fcntl.F_SETPIPE_SZ, 1 << 20)
