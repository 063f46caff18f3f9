"""README.md names tests that exist."""

from __future__ import annotations

import re
from pathlib import Path

HERE = Path(__file__).parent


def test_every_named_test_exists() -> None:
    named = re.findall(r"`([\w./]+\.py)::(\w+)`", (HERE / "README.md").read_text(encoding="utf-8"))
    assert len(named) > 30
    missing = [(file, name) for file, name in named if f"def {name}(" not in (HERE / file).read_text(encoding="utf-8")]
    assert not missing
