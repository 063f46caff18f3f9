"""Kernels are built once, by whoever comes first, and their lack is no error."""

from __future__ import annotations

import ctypes
import os
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch

from avatar_core.cuda.closest_point import TriangleBVH
from avatar_core.cuda.device import packed
from avatar_core.cuda.neighbours import neighbours
from avatar_core.cuda.raster import rasterise

ASK = """
from pathlib import Path
from avatar_core.cuda import backend, cache
cache.SHIPPED = Path("none")  # as in a clone
info = backend()
print(info.name, "|", info.reason, "|", info.faster)
"""
WITHOUT_ZIG = "import sys; sys.modules['ziglang'] = None"  # as if it were not installed


def ask(before: str = "", **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", before + ASK],
        capture_output=True,
        text=True,
        timeout=120,
        env={**os.environ, **environment},
    )


def test_without_a_compiler_the_reference_runs_and_says_how_to_get_faster(tmp_path: Path) -> None:
    done = ask(WITHOUT_ZIG, PATH=str(tmp_path), XDG_CACHE_HOME=str(tmp_path), CXX="")
    assert done.stdout.startswith("reference | no C++ compiler")
    assert "pip install ziglang" in done.stdout


@pytest.mark.slow
@pytest.mark.skipif(find_spec("ziglang") is None, reason="zig is not here: pip install ziglang")
def test_zig_is_a_compiler(tmp_path: Path) -> None:
    environment = {"PATH": str(tmp_path / "bin"), "XDG_CACHE_HOME": str(tmp_path), "CXX": ""}
    assert ask(**environment).stdout.startswith("native | built with zig: ")


def test_a_broken_compiler_is_named(tmp_path: Path) -> None:
    broken = tmp_path / "broken-compiler"
    broken.write_text("#!/bin/sh\necho cannot compile anything >&2\nexit 1\n")
    broken.chmod(0o755)
    environment = {"CXX": str(broken), "PATH": str(tmp_path), "XDG_CACHE_HOME": str(tmp_path)}
    done = ask(WITHOUT_ZIG, **environment)
    assert done.stdout.startswith("reference | ") and "cannot compile" in done.stdout
    assert "kernels cannot be built" in ask(WITHOUT_ZIG, **environment, AVATAR_BACKEND="native").stderr


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


def test_a_backend_that_needs_a_gpu_says_so_where_there_is_none() -> None:
    if torch.cuda.is_available():
        pytest.skip("there is a GPU")
    assert "AVATAR_BACKEND=cuda, but the GPU cannot run kernels" in ask(AVATAR_BACKEND="cuda").stderr


def test_arguments_of_a_launch() -> None:
    a = torch.zeros(3)
    device, values = packed((a, None, 7, 0.5, ctypes.c_uint(9)))
    assert device == a.device
    assert [type(value) for value in values] == [
        ctypes.c_void_p,
        ctypes.c_void_p,
        ctypes.c_longlong,
        ctypes.c_float,
        ctypes.c_uint,
    ]
    assert values[0].value == a.data_ptr() and values[1].value is None and values[2].value == 7
    with pytest.raises(ValueError, match="got str"):
        packed((a, "text"))
    with pytest.raises(ValueError, match="one device"):
        packed((a, a.to("meta")))
    with pytest.raises(ValueError, match="one device"):
        packed((1,))


def test_a_default_device_does_not_reach_the_kernels() -> None:
    """Callers may make models under `torch.device`; what a kernel works on lies where its inputs do."""
    vertices, faces = torch.rand(30, 3), torch.randint(0, 30, (40, 3))
    flat = torch.cat([vertices[:, :2] * 16, torch.ones(30, 1)], 1)
    points = torch.rand(20, 3)

    def everything() -> tuple[tuple[torch.Tensor, ...], ...]:
        tree = TriangleBVH(vertices, faces)
        return rasterise(flat, faces, 16, 16), tree.closest(points), neighbours(points, vertices, 0.3, 4)

    wanted = everything()
    with torch.device("meta"):
        found = everything()
    torch.testing.assert_close(found, wanted)
