"""Makes the binaries that a wheel ships: `python build_addon.py --kernels`, and the package's own build.

CPU libraries for every system from any system, by zig's C++ compiler (the package ziglang); device code for every
generation of GPUs in one file a source, by nvcc. Each file's name holds a hash of its sources: one that is out of date
is not found. None of them needs a version of Python or of torch.
"""

from __future__ import annotations

import platform
import shutil
import subprocess
import sys
from collections.abc import Iterator
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
    "-shared",
)
ZIG = (sys.executable, "-m", "ziglang", "c++")
# zig's own defaults are for debugging (-fsanitize); clang's SLP vectoriser makes gathers slower
ZIG_FLAGS = ("-fno-slp-vectorize", "-fno-sanitize=undefined", "-nostdlib++")
TARGETS = {
    "linux-x86_64": "x86_64-linux-gnu.2.17",
    "linux-arm64": "aarch64-linux-gnu.2.17",
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


def build() -> Iterator[str]:
    """Makes what the compilers at hand can make, and removes what is out of date. Yields a line for each part: made, or
    left out and why. Raises BuildError."""
    wanted = {library_path(system, level) for system in TARGETS for level in LEVELS[system.partition("-")[2]]}
    wanted |= {device_path(path.stem) for path in cache.SOURCES.glob("*.cu")}
    cache.SHIPPED.mkdir(exist_ok=True)
    for path in set(cache.SHIPPED.iterdir()) - wanted:
        path.unlink()
    yield _libraries() if find_spec("ziglang") else "CPU kernels are left out: pip install ziglang"
    yield _device_code() if shutil.which("nvcc") else "device code is left out: nvcc is not on the PATH"


def _libraries() -> str:
    sources = [str(path) for path in sorted(cache.SOURCES.glob("*.cpp"))]
    for name, target in TARGETS.items():
        position = () if name.startswith("windows") else ("-fPIC",)
        for level in LEVELS[name.partition("-")[2]]:
            command = [*ZIG, *FLAGS, *ZIG_FLAGS, *position, "-s", "-target", target, f"-mcpu={level}", *sources]
            _make(library_path(name, level), command)
    return f"CPU kernels for {', '.join(TARGETS)}"


def _device_code() -> str:
    targets = [f"-gencode=arch=compute_{one},code=sm_{one}" for one in CAPABILITIES]
    targets.append(f"-gencode=arch=compute_{_PTX},code=compute_{_PTX}")
    for path in sorted(cache.SOURCES.glob("*.cu")):
        _make(device_path(path.stem), ["nvcc", "-std=c++14", "-fatbin", *targets, str(path)])
    return f"device code for sm_{', sm_'.join(map(str, CAPABILITIES))}"


def _make(target: Path, command: list[str]) -> None:
    """Runs the command with `-o target`, unless the target is there."""
    if target.exists():
        return
    part = target.with_name("part-" + target.name)
    try:
        subprocess.run([*command, "-o", str(part)], check=True, capture_output=True, text=True, timeout=_TIMEOUT)
        part.replace(target)
    except subprocess.CalledProcessError as error:
        raise BuildError(f"{target.name} cannot be made:\n{error.stderr}") from error
    finally:
        for rest in target.parent.glob(part.stem + "*"):
            rest.unlink()
