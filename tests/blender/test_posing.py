"""In real Blenders whatever poses an armature poses its avatar, and renders tell how far they are."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from blenders import Studio

SCRIPT = Path(__file__).parent / "inside" / "posing_cases.py"
CASES = re.findall(r"^def case_(\w+)", SCRIPT.read_text(), re.MULTILINE)


@pytest.fixture(scope="module")
def cases(studio: Studio) -> dict[str, str]:
    """The cases of inside/posing_cases.py, each with its traceback or nothing."""
    done = studio.script("posing_cases", str(studio.actor))
    found = [json.loads(line.removeprefix("CASE ")) for line in done.stdout.splitlines() if line.startswith("CASE ")]
    assert found and done.returncode == 0, done.stdout + done.stderr
    return {case["case"]: case["error"] for case in found}


@pytest.mark.parametrize("name", CASES)
def test_posing(cases: dict[str, str], name: str) -> None:
    assert not cases[name], cases[name]
