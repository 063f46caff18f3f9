# SPDX-License-Identifier: GPL-3.0-or-later
"""Actors and motions that a worker on another machine does not see: sent once, and kept there by their SHA-256."""

from __future__ import annotations

import base64
from pathlib import Path

from .client import Poll, Worker, WorkerError
from .kept_files import SENT, sha256

_PART = 1 << 19  # bytes at a time: the worker's signs of life wait behind it on a slow line


def send(worker: Worker, path: Path, poll: Poll | None = None) -> str:
    """The path that the worker gives to what is in our file. Raises WorkerError."""
    most = SENT.get(path.suffix)
    if most is None or not path.is_file():
        raise WorkerError(
            "bad_input",
            f"{path.name} is not on the renderer's machine, and only files ({', '.join(SENT)}) are sent there: copy it"
            " there, and say what its folder is called in this add-on's preferences, Folders.",
        )
    try:
        size = path.stat().st_size
        if size > most:
            raise WorkerError(
                "bad_input",
                f"{path.name} has {size >> 20} MiB, more than are sent to another machine: copy it there, and say what"
                " its folder is called in this add-on's preferences, Folders.",
            )
        digest, received, data = sha256(path), 0, b""  # first asked: is it there?
        message = {"type": "receive", "sha256": digest, "size": size, "suffix": path.suffix}
        with path.open("rb") as stream:
            for _ in range(4 + 2 * size // _PART):  # twice all parts: a worker may die and begin anew
                part = {"offset": received, "data": base64.b64encode(data).decode("ascii")}
                header = worker.request({**message, **part}, poll).header
                if "path" in header:
                    return str(header["path"])
                received = header.get("received")
                if type(received) is not int or not 0 <= received <= size:
                    raise WorkerError("protocol", f"The avatar renderer says that it has {received} of {size} bytes.")
                stream.seek(received)
                data = stream.read(_PART)
    except OSError as error:
        raise WorkerError("bad_input", f"{path} cannot be read: {error.strerror or error}.") from error
    raise WorkerError(
        "died", f"{path.name} cannot be sent to the renderer's machine: the connection broke again and again."
    )
