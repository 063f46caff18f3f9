"""Every CUDA shell compiles for every generation of GPUs, on a machine that has none."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from avatar_core.cuda import build, cache, nvrtc
from avatar_core.errors import AvatarError

SHELLS = sorted(cache.SOURCES.glob("*.cu"))
needs_nvrtc = pytest.mark.skipif(nvrtc.library() is None, reason=f"NVRTC is not here: {nvrtc.HINT}")


@needs_nvrtc
@pytest.mark.parametrize("capability", build.CAPABILITIES)
@pytest.mark.parametrize("path", SHELLS, ids=lambda path: path.stem)
def test_nvrtc_makes_a_binary(path: Path, capability: int) -> None:
    assert nvrtc.compile_source(path, capability).startswith(b"\x7fELF")


@needs_nvrtc
def test_a_gpu_of_the_future_gets_ptx_and_one_of_the_past_a_sentence() -> None:
    assert b".version" in nvrtc.compile_source(SHELLS[0], 999)
    with pytest.raises(AvatarError, match="as old as sm_30"):
        nvrtc.compile_source(SHELLS[0], 30)


@needs_nvrtc
def test_a_mistake_is_shown_with_its_place(tmp_path: Path) -> None:
    path = tmp_path / "wrong.cu"
    path.write_text('extern "C" __global__ void wrong() { undefined_name; }')
    with pytest.raises(AvatarError, match=r"wrong\.cu for sm_75: wrong\.cu\(1\)"):
        nvrtc.compile_source(path, 75)


@pytest.mark.skipif(build.nvcc() is None, reason=f"nvcc is not here: {build.NVCC_HINT}")
@pytest.mark.parametrize("path", SHELLS, ids=lambda path: path.stem)
def test_nvcc_makes_a_binary(path: Path, tmp_path: Path) -> None:
    targets = [f"-gencode=arch=compute_{one},code=sm_{one}" for one in build.CAPABILITIES]
    command = [str(build.nvcc()), *build.NVCC_FLAGS, *targets, str(path), "-o", str(tmp_path / "out.fatbin")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
