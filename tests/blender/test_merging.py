"""Passes, edges, colours and cameras of avatars in Blender's compositor, asked inside real Blenders."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from blenders import Studio

INSIDE = Path(__file__).parent / "inside"
SCRIPTS = ("compositing_cases", "camera_cases")
CASES = [
    (script, name)
    for script in SCRIPTS
    for name in re.findall(r"^def case_(\w+)", (INSIDE / f"{script}.py").read_text(), re.MULTILINE)
]


@pytest.fixture(scope="session")
def cases(studio: Studio) -> dict[str, str]:
    """Each case with its traceback or nothing."""
    found = {}
    for script in SCRIPTS:
        done = studio.script(script, str(studio.actor))
        assert done.returncode == 0, done.stdout + done.stderr
        lines = [line for line in done.stdout.splitlines() if line.startswith("CASE ")]
        found |= {case["case"]: case["error"] for case in (json.loads(line.removeprefix("CASE ")) for line in lines)}
    return found


@pytest.mark.parametrize(("script", "name"), CASES, ids=[name for _, name in CASES])
def test_inside(cases: dict[str, str], script: str, name: str) -> None:
    assert not cases[name], cases[name]
