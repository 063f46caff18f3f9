"""What can only be asked inside Blender: the cases of inside/*_cases.py, in every Blender."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from blenders import Studio

INSIDE = Path(__file__).parent / "inside"
TOGETHER = {  # files whose cases are asked in one Blender, one after the other
    "life": ("undo", "storage", "version", "linking", "character", "library", "refused_files"),
    "shots": ("motion", "posing", "setup", "picture", "refusal"),
    "passes": ("compositing", "camera"),
}
CASES = {
    group: [
        f"{name}_cases.{case}"
        for name in names
        for case in re.findall(r"^def (case_\w+)", (INSIDE / f"{name}_cases.py").read_text(encoding="utf-8"), re.M)
    ]
    for group, names in TOGETHER.items()
}
_errors: dict[tuple[str, str], dict[str, str]] = {}  # of each Blender and group that has run, by case


@pytest.mark.parametrize(
    ("group", "case"), [(group, case) for group, cases in CASES.items() for case in cases], ids=lambda name: name
)
def test_case(studio: Studio, group: str, case: str) -> None:
    asked = str(studio.folder), group
    if asked not in _errors:
        _errors[asked] = errors(studio, group)
    assert not _errors[asked][case], _errors[asked][case]


def errors(studio: Studio, group: str) -> dict[str, str]:
    """Each case with its traceback or nothing; those that Blender ended before with what Blender said."""
    done = studio.script("running", str(studio.actor), *(f"{name}_cases" for name in TOGETHER[group]))
    lines = [line for line in done.stdout.splitlines() if line.startswith("CASE ")]
    found = {case["case"]: case["error"] for case in (json.loads(line.removeprefix("CASE ")) for line in lines)}
    return {case: found.get(case, done.stdout + done.stderr) for case in CASES[group]}


def test_every_file_of_cases_is_asked() -> None:
    assert {path.stem for path in INSIDE.glob("*_cases.py")} == {
        f"{name}_cases" for names in TOGETHER.values() for name in names
    }
