"""How a script of the studio runs inside of Blender: reads its job, says what went wrong, and ends."""

from __future__ import annotations

import json
import os
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

from training.studio.rigged import StudioFailure

FAILED = 3  # exit code


def run_job(main: Callable[[dict[str, Any]], None]) -> None:
    """Calls `main` with the job in the file after `--`, and ends the process."""
    code = FAILED
    try:
        main(json.loads(Path(sys.argv[sys.argv.index("--") + 1]).read_text(encoding="utf-8")))
        code = 0
    except StudioFailure as failure:
        tell("error", str(failure))
    except Exception:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)  # the bpy module may hang when the interpreter ends


def tell(kind: str, text: str) -> None:
    """One line for the outer process; see `blender.run_script`."""
    print(f"STUDIO {kind} {' '.join(text.split())}", flush=True)
