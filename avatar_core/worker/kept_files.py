"""A folder of files that are named by what they hold: each is whole or not there, and goes when unused for long.

A use is written into the time of access; the time of change, by which readers tell whether a file is still the same, is
left alone. Python 3.11 and up, standard library only: this file is also copied into the Blender add-on, which unpacks
actors of .blend files into such a folder; a worker on another machine keeps in such what it was sent.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import tempfile
import time
from collections.abc import Collection
from pathlib import Path
from typing import TypeGuard

MAX_ACTOR = 1 << 30  # bytes of one file
SENT = {".actor": MAX_ACTOR, ".npz": 1 << 28, ".pkl": 1 << 28}  # actors and motions: bytes that one may have
_UNUSED = 30 * 86400  # seconds without a use, after which a file goes
_ROOM = 20 << 30  # bytes of all files; beyond it those used longest ago go
_NOTED = 3600  # seconds, within which a second use is not written down
_RECENT = 86400  # seconds: what was used since stays, another program may be at it
_DIGEST = re.compile(r"[0-9a-f]{64}")


class KeptFiles:
    """The files of one kind in a folder, which need not be there yet; DIGEST.actor has bytes of that SHA-256."""

    def __init__(self, folder: Path, suffix: str = ".actor") -> None:
        self._folder, self._suffix = folder, suffix
        self._checked: dict[Path, tuple[int, int]] = {}  # files that are what their names say, with time and size

    def find(self, digest: str) -> Path | None:
        """The file, marked as used; None where there is none, or a damaged one. Hashed once in each of its states."""
        path = self._path(digest)
        try:
            status = path.stat()
            state = status.st_mtime_ns, status.st_size
            if self._checked.get(path) != state:
                if sha256(path) != digest:
                    return None
                self._checked[path] = state
        except OSError:
            return None
        if time.time() - status.st_atime > _NOTED:
            with contextlib.suppress(OSError):  # of another user's: its age is its own
                os.utime(path, ns=(time.time_ns(), status.st_mtime_ns))
        return path

    def part(self) -> Path:
        """A new empty file to be written to, then given to `keep`. Raises OSError."""
        self._folder.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(suffix=".part", dir=self._folder)
        os.close(handle)
        return Path(name)

    def keep(self, part: Path, digest: str) -> Path | None:
        """Gives the part its name; None, and no part, where its bytes are others. Raises OSError."""
        if sha256(part) != digest:
            part.unlink()
            return None
        os.replace(part, self._path(digest))
        return self.find(digest)

    def tidy(self, used: Collection[str] = ()) -> None:
        """Deletes what nobody has used for long, and what there is no room for; never one of the digests `used`."""
        now, room, files = time.time(), _ROOM, []
        for path in self._folder.glob("*"):
            with contextlib.suppress(OSError):  # gone meanwhile
                status = path.stat()
                files.append((max(status.st_atime, status.st_mtime), status.st_size, path))
        for last, size, path in sorted(files, reverse=True):
            kept = path.suffix == self._suffix and is_digest(path.stem)
            if not kept and path.suffix != ".part":
                continue  # nothing of ours
            room -= size
            old = now - last > (_UNUSED if kept and room >= 0 else _RECENT)
            if old and path.stem not in used:
                with contextlib.suppress(OSError):  # Windows keeps what is open
                    path.unlink()
                    room += size

    def _path(self, digest: str) -> Path:
        return self._folder / f"{digest}{self._suffix}"


def is_digest(text: object) -> TypeGuard[str]:
    return isinstance(text, str) and _DIGEST.fullmatch(text) is not None


def sha256(path: Path) -> str:
    """Raises OSError."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
