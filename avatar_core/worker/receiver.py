"""Actors and motions that a Blender on another machine sends, part by part, because no file of theirs is here."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

from ..cuda.cache import folder
from .actors import RequestError
from .kept_files import SENT, KeptFiles, is_digest


class Receiver:
    """One file at a time; whole ones stay in the user's cache, for this worker and later ones."""

    def __init__(self) -> None:
        places = {suffix: folder() / ("actors" if suffix == ".actor" else "motions") for suffix in SENT}
        self._files = {suffix: KeptFiles(place, suffix) for suffix, place in places.items()}
        self._digest, self._part, self._held = "", Path(), 0

    def take(self, header: dict[str, Any]) -> dict[str, Any]:
        """`path` where the file of the SHA-256 is whole, else `received`: how many of its bytes are here, from where
        its sender goes on. Raises RequestError."""
        digest, size, offset = (header.get(name) for name in ("sha256", "size", "offset"))
        suffix = header.get("suffix", ".actor")
        if not isinstance(suffix, str) or suffix not in SENT:
            raise RequestError(f"files that are sent end in {', '.join(SENT)}")
        if not is_digest(digest) or type(size) is not int or not 0 < size <= SENT[suffix] or type(offset) is not int:
            raise RequestError(
                f"{suffix} files are sent by their SHA-256 and a size of at most {SENT[suffix] >> 20} MiB"
            )
        files = self._files[suffix]
        try:
            found = files.find(digest) or self._add(files, digest, size, offset, header.get("data"))
        except OSError as error:
            raise RequestError(f"what is sent cannot be kept here: {error.strerror or error}") from error
        return {"received": self._held} if found is None else {"path": str(found)}

    def _add(self, files: KeptFiles, digest: str, size: int, offset: int, data: object) -> Path | None:
        """The whole file, once it is. Raises OSError."""
        try:
            more = base64.b64decode(str(data or ""), validate=True)
        except ValueError as error:
            raise RequestError("parts of a file are sent in base 64") from error
        if digest != self._digest:
            if self._digest:
                self._part.unlink(missing_ok=True)
            self._digest, self._part, self._held = digest, files.part(), 0
        if offset == self._held:
            with self._part.open("ab") as stream:
                stream.write(more[: size - self._held])
            self._held = self._part.stat().st_size
        if self._held < size:
            return None
        self._digest = ""
        path = files.keep(self._part, digest)
        if path is None:
            raise RequestError("a file came with other bytes than were announced; try again")
        files.tidy([digest])
        return path
