"""Neural Actor keeps to the device it was moved to. Without a GPU: on one without kernels, and on an emulated one."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch.utils.backend_registration as registration


@pytest.mark.skipif(
    not hasattr(registration, "_setup_privateuseone_for_python_backend"), reason="needs a newer PyTorch"
)
@pytest.mark.parametrize("words", [("fast",), ("fast", "kernels"), ("published", "kernels"), ("shell",)])
def test_it_renders_and_trains_where_it_is(words: tuple[str, ...]) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tests.pretend.neural_actor", *words],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, "\n".join(
        line for line in done.stderr.splitlines()[-40:] if "registered at" not in line
    )
    found = re.match(r"picture (\S+) of (\S+)", done.stdout)
    assert found and float(found[1]) < 0.05 and float(found[2]) > 0.3, done.stdout
    assert done.stdout.count("losses") == 2
