"""Where compiled kernels are kept, and what names them: a change of any source gives another name."""

from __future__ import annotations

import hashlib
import os
import tempfile
from pathlib import Path

SOURCES = Path(__file__).parent
SHIPPED = SOURCES / "shipped"  # binaries that build.py makes and a wheel carries


def folder() -> Path:
    """The user's cache folder for kernels; it may not be there yet."""
    if os.name == "nt":
        base = Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local")
    else:
        base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return base / "avatar_core"


def digest(pattern: str, *more: object) -> str:
    """Of the headers, of the sources that match `pattern`, and of whatever else decides what comes out."""
    found = hashlib.sha256(repr(more).encode())
    for path in sorted([*SOURCES.glob("*.h"), *SOURCES.glob(pattern)]):
        found.update(path.name.encode() + path.read_bytes())
    return found.hexdigest()[:20]


def write(path: Path, content: bytes) -> None:
    """Another process sees the whole file or none."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, part = tempfile.mkstemp(dir=path.parent, prefix=path.name)
    try:
        with os.fdopen(handle, "wb") as stream:
            stream.write(content)
        os.replace(part, path)
    except BaseException:
        Path(part).unlink(missing_ok=True)
        raise
