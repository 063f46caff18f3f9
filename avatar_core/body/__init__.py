"""Bodies: files, shape, kinematics and skinning.

`load_body()` is the free template; `load_body(path)` reads a user's own. This module needs numpy only; the
torch side is in `kinematics` and `skinning`.
"""

from __future__ import annotations

from pathlib import Path

from .arrays import BodyFileError
from .model import Body

__all__ = ["Body", "BodyFileError", "load_body"]


def load_body(path: Path | str | None = None) -> Body:
    """The template (None), or the body in a file. Raises BodyFileError."""
    from .template import load_template

    if path is None:
        return load_template()
    from .files import read_body

    return read_body(Path(path))
