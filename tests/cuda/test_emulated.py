"""The tests for GPUs, where there is none: CUDA shells run on the CPU, started as a GPU's driver would start them."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from tests.pretend.script import POSSIBLE

pytestmark = [
    pytest.mark.skipif(torch.cuda.is_available(), reason="a real GPU is here"),
    pytest.mark.skipif(shutil.which("c++") is None, reason="needs a C++ compiler"),
    pytest.mark.skipif(not POSSIBLE, reason="needs a newer PyTorch"),
]


def test_every_shell_does_what_the_cpu_does() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "tests.pretend.gpu", "-m", "gpu", "tests/cuda"],
        cwd=Path(__file__).parents[2],
        env={name: value for name, value in os.environ.items() if name != "PYTEST_ADDOPTS"},
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert done.returncode == 0 and " passed" in done.stdout, done.stdout[-4000:]
    assert "kernels that no test started: []" in done.stdout
