"""Actors that a Blender on another machine sends, part by part, because no file of theirs is here."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

from ..cuda.cache import folder
from .actor_files import MAX_ACTOR, ActorFiles, is_digest
from .actors import RequestError


class Receiver:
    """One actor at a time; whole ones stay in the user's cache, for this worker and later ones."""

    def __init__(self, files: ActorFiles | None = None) -> None:
        self._files = files or ActorFiles(folder() / "actors")
        self._digest, self._part, self._held = "", Path(), 0

    def take(self, header: dict[str, Any]) -> dict[str, Any]:
        """`path` where the actor of the SHA-256 is whole, else `received`: how many of its bytes are here, from where
        its sender goes on. Raises RequestError."""
        digest, size, offset = (header.get(name) for name in ("sha256", "size", "offset"))
        if not is_digest(digest) or type(size) is not int or not 0 < size <= MAX_ACTOR or type(offset) is not int:
            raise RequestError(f"an actor is sent by its SHA-256 and a size of at most {MAX_ACTOR >> 20} MiB")
        try:
            found = self._files.find(digest) or self._add(digest, size, offset, header.get("data"))
        except OSError as error:
            raise RequestError(f"an actor cannot be kept here: {error.strerror or error}") from error
        return {"received": self._held} if found is None else {"path": str(found)}

    def _add(self, digest: str, size: int, offset: int, data: object) -> Path | None:
        """The whole file, once it is. Raises OSError."""
        try:
            more = base64.b64decode(str(data or ""), validate=True)
        except ValueError as error:
            raise RequestError("parts of an actor are sent in base 64") from error
        if digest != self._digest:
            if self._digest:
                self._part.unlink(missing_ok=True)
            self._digest, self._part, self._held = digest, self._files.part(), 0
        if offset == self._held:
            with self._part.open("ab") as stream:
                stream.write(more[: size - self._held])
            self._held = self._part.stat().st_size
        if self._held < size:
            return None
        self._digest = ""
        path = self._files.keep(self._part, digest)
        if path is None:
            raise RequestError("an actor came with other bytes than were announced; try again")
        self._files.tidy([digest])
        return path
