"""Scripts that pretend a device, each in a process of its own: what they change stays there."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import torch.utils.backend_registration as registration

POSSIBLE = hasattr(registration, "_setup_privateuseone_for_python_backend")  # a newer PyTorch can
_SECONDS = 300
_SHOWN = 40  # lines of a failure


def told(script: str, *words: str) -> str:
    """What tests/pretend/SCRIPT.py prints; it must end well."""
    done = subprocess.run(
        [sys.executable, "-m", f"tests.pretend.{script}", *words],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        timeout=_SECONDS,
    )
    lines = done.stderr.splitlines()[-_SHOWN:]
    assert done.returncode == 0, "\n".join(line for line in lines if "registered at" not in line)
    return done.stdout
