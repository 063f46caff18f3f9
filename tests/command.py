"""The command `avatar`, as people run it: in a process of its own."""

from __future__ import annotations

import subprocess
import sys


def avatar(*arguments: str) -> subprocess.CompletedProcess[str]:
    """What it wrote and how it ended."""
    command = [sys.executable, "-m", "avatar_core.cli", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=300)
