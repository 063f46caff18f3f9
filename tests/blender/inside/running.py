"""Cases of a script inside Blender: functions named case_…, each of which takes the actor file."""

from __future__ import annotations

import json
import traceback
from typing import Any


def run(functions: dict[str, Any], actor: str) -> int:
    """Prints one line of JSON for each case: its name, and its traceback or nothing."""
    cases = {name.removeprefix("case_"): work for name, work in functions.items() if name.startswith("case_")}
    for name, work in cases.items():
        error = ""
        try:
            work(actor)
        except Exception:
            error = traceback.format_exc()
        print("CASE " + json.dumps({"case": name, "error": error}), flush=True)
    return 0
