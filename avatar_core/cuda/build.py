"""Makes the binaries that a wheel ships: `python build_addon.py --kernels`, and the package's own build.

CPU libraries for every system from any system, by zig's C++ compiler (the package ziglang); device code for every
generation of GPUs in one file a source, by nvcc. Each file's name holds a hash of its sources: one that is out of date
is not found. None of them needs a version of Python or of torch.
"""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

from . import cache

FLAGS = (
    "-O3",
    "-std=c++14",
    "-fno-exceptions",
    "-fno-rtti",
    "-ffp-contract=fast",
    "-fno-math-errno",
    "-fno-trapping-math",
)
ZIG = (sys.executable, "-m", "ziglang", "c++")
# zig's own defaults are for debugging (-fsanitize); clang's SLP vectoriser makes gathers slower
ZIG_FLAGS = ("-fno-slp-vectorize", "-fno-sanitize=undefined")
# for processors with AVX-512, clang would take half of each register: small networks at half their speed
WIDE_FLAGS = {"x86_64_v4": ("-mprefer-vector-width=512",)}
LINK_FLAGS = ("-shared", "-nostdlib++", "-s")
NVCC_FLAGS = ("-std=c++14", "-fatbin")
NVCC_HINT = "install a CUDA toolkit, or a C++ compiler and: pip install nvidia-cuda-nvcc"
TARGETS = {
    "linux-x86_64": "x86_64-linux-gnu.2.28",
    "linux-arm64": "aarch64-linux-gnu.2.28",
    "windows-x86_64": "x86_64-windows-gnu",
    "macos-arm64": "aarch64-macos.11.0",
}  # system: zig's name for it
LEVELS = {"x86_64": ("x86_64_v2", "x86_64_v3", "x86_64_v4"), "arm64": ("generic",)}  # worst first
CAPABILITIES = (75, 80, 86, 89, 90, 100, 120)
_PTX = 90  # what the driver translates for GPUs that come later
_SUFFIX = {"linux": ".so", "windows": ".dll", "macos": ".dylib"}
_TIMEOUT = 600  # seconds a file


class BuildError(Exception):
    """A compiler that fails; with what it says."""


def system() -> str:
    """This machine's, as in TARGETS; another word where nothing is shipped for it."""
    name = {"darwin": "macos"}.get(sys.platform, "windows" if sys.platform == "win32" else sys.platform)
    machine = platform.machine().lower()
    return f"{name}-{ {'amd64': 'x86_64', 'aarch64': 'arm64'}.get(machine, machine) }"


def library_path(system: str, level: str) -> Path:
    """Where the CPU's kernels for a system and an instruction level are shipped."""
    suffix = _SUFFIX.get(system.partition("-")[0], ".so")
    return cache.SHIPPED / f"kernels-{cache.digest('*.cpp')}-{system}-{level}{suffix}"


def device_path(source: str) -> Path:
    """Where the device code of `source`.cu is shipped."""
    return cache.SHIPPED / f"{source}-{cache.digest(source + '.cu')}.fatbin"


def nvcc() -> str | None:
    """NVIDIA's compiler on the PATH or in its wheel; None without one, or without the C++ compiler that it calls."""
    spec = find_spec("nvidia")
    wheels = [Path(place) for place in (spec.submodule_search_locations if spec else None) or ()]
    found = [str(path) for wheel in wheels for path in sorted(wheel.glob("cu*/bin/nvcc*"), reverse=True)]
    compiler = shutil.which("nvcc") or next((path for path in found if shutil.which(path)), None)
    return compiler if shutil.which("cl" if os.name == "nt" else "gcc") else None


def build(systems: Collection[str] = tuple(TARGETS), gpu: bool = True) -> Iterator[str]:
    """Makes what the compilers at hand can make, and removes what is out of date. Yields a line for each part: made, or
    left out and why. systems: whose CPU libraries to make. gpu: whether to make device code. Raises BuildError."""
    wanted = {library_path(system, level) for system in TARGETS for level in LEVELS[system.partition("-")[2]]}
    wanted |= {device_path(path.stem) for path in cache.SOURCES.glob("*.cu")}
    cache.SHIPPED.mkdir(exist_ok=True)
    for path in set(cache.SHIPPED.glob("*.*")) - wanted:
        path.unlink()
    yield _libraries(systems) if find_spec("ziglang") else "CPU kernels are left out: pip install ziglang"
    if gpu:
        compiler = nvcc()
        yield _device_code(compiler) if compiler else f"device code is left out: no nvcc; {NVCC_HINT}"


def _libraries(systems: Collection[str]) -> str:
    for system in systems:
        for level in LEVELS[system.partition("-")[2]]:
            with _made(library_path(system, level)) as output:
                if output:
                    _library(output, TARGETS[system], level)
    return f"CPU kernels for {', '.join(systems)}"


def _library(output: Path, target: str, level: str) -> None:
    flags = *FLAGS, *ZIG_FLAGS, *WIDE_FLAGS.get(level, ()), *(() if "windows" in target else ("-fPIC",))
    objects = []
    for path in sorted(cache.SOURCES.glob("*.cpp")):
        objects.append(output.with_name(path.stem + ".o"))
        _run(*ZIG, "-target", target, f"-mcpu={level}", *flags, "-c", path, "-o", objects[-1])
    # without the level: zig would build the system's start-up code anew for each
    _run(*ZIG, "-target", target, *LINK_FLAGS, *objects, "-o", output)


def _device_code(compiler: str) -> str:
    targets = [f"-gencode=arch=compute_{one},code=sm_{one}" for one in CAPABILITIES]
    targets.append(f"-gencode=arch=compute_{_PTX},code=compute_{_PTX}")
    for path in sorted(cache.SOURCES.glob("*.cu")):
        with _made(device_path(path.stem)) as output:
            if output:
                _run(compiler, *NVCC_FLAGS, *targets, path, "-o", output)
    return f"device code for sm_{', sm_'.join(map(str, CAPABILITIES))}"


@contextmanager
def _made(target: Path) -> Iterator[Path | None]:
    """A file in a folder of its own that becomes the target; None where that is there already."""
    if target.exists():
        yield None
        return
    with tempfile.TemporaryDirectory(dir=target.parent) as folder:
        output = Path(folder, target.name)
        yield output
        os.replace(output, target)


def _run(*command: str | Path) -> None:
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True, timeout=_TIMEOUT)
    if done.returncode:
        raise BuildError(f"{' '.join(map(str, command))} fails:\n{done.stderr}")
