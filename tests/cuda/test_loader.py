"""Kernels are built once, by whoever comes first, and their lack is no error."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ASK = "from avatar_core.cuda import backend; info = backend(); print(info.name, '|', info.reason, '|', info.faster)"
CUDA = Path(__file__).parents[2] / "avatar_core" / "cuda"


def ask(**environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", ASK],
        capture_output=True,
        text=True,
        timeout=120,
        env={**os.environ, **environment},
    )


def test_without_a_compiler_the_reference_runs_and_says_how_to_get_faster(tmp_path: Path) -> None:
    done = ask(PATH=str(tmp_path), XDG_CACHE_HOME=str(tmp_path), CXX="")
    if "ziglang" in done.stdout.split("|")[1]:
        pytest.skip("ziglang is installed: there is a compiler")
    assert done.stdout.startswith("reference | no C++ compiler")
    assert "pip install ziglang" in done.stdout


def test_a_broken_compiler_is_named(tmp_path: Path) -> None:
    broken = tmp_path / "broken-compiler"
    broken.write_text("#!/bin/sh\necho cannot compile anything >&2\nexit 1\n")
    broken.chmod(0o755)
    environment = {"CXX": str(broken), "PATH": str(tmp_path), "XDG_CACHE_HOME": str(tmp_path)}
    assert ask(**environment).stdout.startswith("reference | ") and "cannot compile" in ask(**environment).stdout
    assert "kernels cannot be built" in ask(**environment, AVATAR_BACKEND="native").stderr


def test_a_word_that_is_no_backend_is_refused() -> None:
    assert "AVATAR_BACKEND must be" in ask(AVATAR_BACKEND="warp").stderr


@pytest.mark.skipif(shutil.which("c++") is None and shutil.which("g++") is None, reason="no compiler")
def test_two_processes_may_build_at_once(tmp_path: Path) -> None:
    environment = {**os.environ, "XDG_CACHE_HOME": str(tmp_path)}
    running = [
        subprocess.Popen([sys.executable, "-c", ASK], stdout=subprocess.PIPE, text=True, env=environment)
        for _ in range(2)
    ]
    answers = [process.communicate(timeout=120)[0] for process in running]
    assert all(answer.startswith("native") for answer in answers), answers
    assert len(list((tmp_path / "avatar_core").iterdir())) == 1


@pytest.mark.skipif(shutil.which("nvcc") is None, reason="nvcc is not here: the CUDA shells stay unchecked")
@pytest.mark.parametrize("source", sorted(path.name for path in CUDA.glob("*.cu")))
def test_cuda_shells_compile(source: str, tmp_path: Path) -> None:
    targets = [f"-gencode=arch=compute_{arch},code=sm_{arch}" for arch in (75, 80, 86, 89, 90, 100, 120)]
    command = ["nvcc", "-fatbin", *targets, str(CUDA / source), "-o", str(tmp_path / "out.fatbin")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
