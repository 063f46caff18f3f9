"""In real Blenders an avatar is packed, linked, appended, undone, migrated; libraries and bone maps are kept."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from blenders import Studio

CASES = re.findall(r"^def case_(\w+)", (Path(__file__).parent / "inside" / "keeping.py").read_text(), re.MULTILINE)


@pytest.fixture(scope="module")
def cases(studio: Studio) -> dict[str, str]:
    """The cases of inside/keeping.py, each with its traceback or nothing."""
    done = studio.script("keeping", str(studio.actor))
    found = [json.loads(line.removeprefix("CASE ")) for line in done.stdout.splitlines() if line.startswith("CASE ")]
    assert found and done.returncode == 0, done.stdout + done.stderr
    return {case["case"]: case["error"] for case in found}


@pytest.mark.parametrize("name", CASES)
def test_keeping(cases: dict[str, str], name: str) -> None:
    assert not cases[name], cases[name]
