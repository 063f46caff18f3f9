"""The actors a worker holds in memory."""

from __future__ import annotations

import platform
from collections import OrderedDict
from collections.abc import Callable
from importlib import resources
from pathlib import Path
from typing import Any

from ..errors import AvatarError

SHIPPED = Path(str(resources.files("blend_templates"))) / "actors"  # those that come with avatar_core


class RequestError(AvatarError):
    """A request that is not understood, or that this machine cannot serve. `kind` is the error's type."""

    def __init__(self, message: str, kind: str = "bad_input") -> None:
        super().__init__(message)
        self.kind = kind


class ActorCache:
    """The actors used last, at most `capacity`. A file that changed on disk is loaded again."""

    def __init__(self, capacity: int = 4, load: Callable[[Path, str], Any] | None = None) -> None:
        self._capacity = max(1, capacity)
        self._load = load or _load_actor
        self._actors: OrderedDict[Path, tuple[tuple[int, int], Any]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._actors)

    def get(self, name: object, device: str) -> Any:
        """The actor in the file `name`, an absolute path. Raises AvatarError."""
        path = actor_path(name)
        status = path.stat()
        stamp = (status.st_mtime_ns, status.st_size)
        known = self._actors.pop(path, None)
        if known is None or known[0] != stamp:
            while len(self._actors) >= self._capacity:
                self._actors.popitem(last=False)
            known = (stamp, self._load(path, device))
        self._actors[path] = known
        return known[1]

    def keep_only(self, name: object) -> None:
        """Forget all actors but one; None forgets them all."""
        for path in [path for path in self._actors if str(path) != name]:
            del self._actors[path]


def actor_path(name: object) -> Path:
    """Checks what a client calls an actor: an absolute path of a file that exists and ends in `.actor`."""
    if not isinstance(name, str) or "\0" in name or not name:
        raise RequestError("the request names no actor file")
    path = Path(name)
    if not path.is_absolute():
        raise RequestError(f"the path of an actor must be absolute, got '{name}'")
    if path.suffix != ".actor":
        raise RequestError(f"{name} is not an actor: its name does not end in .actor")
    if not path.is_file():
        raise RequestError(f"{name} does not exist on the machine that renders ({platform.node()})", "absent")
    return path


def _load_actor(path: Path, device: str) -> Any:
    from ..actor import Actor

    return Actor.load(path, device)
