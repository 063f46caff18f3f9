"""Chooses where an op runs, and finds or builds the CPU's kernels.

The library has a plain C interface, so it depends on no version of Python or torch. A wheel ships it for several levels
of the processor's instructions, and the best that this processor has is loaded. Where none is shipped, as in a clone,
the first compiler found builds one for this very processor, once, into the user's cache folder. Without either there
are no kernels, and every op runs its PyTorch reference.
"""

from __future__ import annotations

import ctypes
import os
import platform
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache as once
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import AvatarError
from . import build, cache
from .arguments import plain
from .threads import parallel

if TYPE_CHECKING:
    from torch import Tensor

_TIMEOUT = 120  # seconds for a build
_HINT = f"{sys.executable} -m pip install ziglang, or a C++ compiler (apt install g++, xcode-select --install)"


@dataclass(frozen=True)
class BackendInfo:
    """name: 'native', 'cuda' or 'reference'. reason: why this one. faster: what to do for a faster one; may be
    empty."""

    name: str
    reason: str
    faster: str = ""


@once
def backend(device: str = "cpu") -> BackendInfo:
    """What the ops use for tensors on a kind of device ('cpu', 'cuda', others).

    AVATAR_BACKEND forces one: 'reference' for all tensors, 'native' for those on the CPU, 'cuda' for those on a GPU.
    Raises AvatarError where that one cannot be had.
    """
    wanted = os.environ.get("AVATAR_BACKEND", "")
    if wanted not in ("", "reference", "native", "cuda"):
        raise AvatarError(f"AVATAR_BACKEND must be 'reference', 'native' or 'cuda', got '{wanted}'")
    if wanted == "reference":
        return BackendInfo("reference", "AVATAR_BACKEND asks for it", "unset AVATAR_BACKEND")
    kind = device.split(":")[0]
    if wanted == "cuda" or kind == "cuda":
        info = _cuda()
        if wanted == "cuda" and info.name != "cuda":
            raise AvatarError(f"AVATAR_BACKEND=cuda, but the GPU cannot run kernels: {info.reason}")
        if kind == "cuda":
            return info
    if kind != "cpu":
        return BackendInfo("reference", f"there are no kernels for {kind}")
    info = _load()[1]
    if wanted == "native" and info.name != "native":
        raise AvatarError(f"AVATAR_BACKEND=native, but the kernels cannot be built: {info.reason}; {_HINT}")
    return info


def library() -> ctypes.CDLL | None:
    """The native kernels, or None: use the reference."""
    return _load()[0] if backend().name == "native" else None


def kernels() -> ctypes.CDLL:
    """The native kernels, where `library()` said that there are some."""
    native = library()
    assert native is not None
    return native


def choose(*tensors: Tensor) -> str:
    """'native', 'cuda' or 'reference': where an op on these tensors runs. Raises ValueError if they are on several
    devices."""
    devices = {tensor.device for tensor in tensors}
    if len(devices) != 1:
        raise ValueError(f"tensors must be on one device, got {', '.join(sorted(map(str, devices))) or 'none'}")
    return backend(devices.pop().type).name


def run(
    backend: str, source: str, kernel: str, arguments: Sequence[Any], count: int, block: int = 256, least: int = 2048
) -> None:
    """A kernel of `source` that does one of `count` elements a thread on a GPU, and ranges of them on the CPU.

    arguments: what both take, as for `plain`. block: threads together on a GPU. least: elements in a range on the CPU.
    """
    if backend == "cuda":
        from .device import launch

        launch(source, kernel, (-(-count // block), 1, 1), (block, 1, 1), *arguments, count)
    else:
        parallel(getattr(kernels(), kernel), [plain(argument) for argument in arguments], count, least)


def _cuda() -> BackendInfo:
    from . import device

    problem = device.problem()
    if problem:
        return BackendInfo("reference", problem)
    return BackendInfo("cuda", f"device code {device.origin()}")


@once
def _load() -> tuple[ctypes.CDLL | None, BackendInfo]:
    """The first that works: a shipped library, best level first, or one that a compiler makes."""
    problems = []
    for level in _levels():
        path = build.library_path(build.system(), level)
        if path.exists():
            try:
                return ctypes.CDLL(str(path)), BackendInfo("native", f"as shipped for {level}")
            except OSError as error:
                problems.append(f"{path.name}: {error}")
    for name, command in _compilers().items():
        try:
            path = _build(command)
            return ctypes.CDLL(str(path)), BackendInfo("native", f"built with {name}: {path}")
        except (OSError, subprocess.SubprocessError) as error:
            output = getattr(error, "stderr", None)
            problems.append(f"{name}: {(output or str(error)).strip().splitlines()[-1]}")
    return None, BackendInfo("reference", "; ".join(problems) or "no C++ compiler was found", _HINT)


def _levels() -> tuple[str, ...]:
    """Instruction levels that this processor and its operating system have, best first."""
    levels = build.LEVELS.get(build.system().partition("-")[2], ())
    if len(levels) < 2:
        return levels
    import torch

    best = {"AVX2": 1}.get(torch.backends.cpu.get_cpu_capability(), 0)
    if torch.backends.cpu.get_cpu_capability().startswith("AVX512"):
        best = 2
    return levels[best::-1]


def _compilers() -> dict[str, list[str]]:
    """Commands without sources and output by their names, best first. MSVC is none: it lacks vector types."""
    found = {}
    native = ["-march=native"] if build.system().endswith("x86_64") else []
    shared = ["-shared"] if os.name == "nt" else ["-shared", "-fPIC"]
    for name in (os.environ.get("CXX", ""), "c++", "g++", "clang++"):
        words = shlex.split(name)
        if words and shutil.which(words[0]):
            found[name] = [*words, *build.FLAGS, *native, *shared]
            break
    if find_spec("ziglang") is not None:
        found["zig"] = [*build.ZIG, *build.FLAGS, *build.ZIG_FLAGS, "-nostdlib++", *native, *shared]
    return found


def _build(command: list[str]) -> Path:
    """The library of this command; made if it is not in the cache. Two processes may do so at once."""
    suffix = {"nt": ".dll"}.get(os.name, ".so")
    target = cache.folder() / f"kernels-{cache.digest('*.cpp', command, _processor())}{suffix}"
    if target.exists():
        return target
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent) as folder:
        output = Path(folder) / target.name
        sources = [str(path) for path in sorted(cache.SOURCES.glob("*.cpp"))]
        subprocess.run(
            [*command, *sources, "-o", str(output)],
            cwd=folder,
            check=True,
            capture_output=True,
            text=True,
            timeout=_TIMEOUT,
        )
        os.replace(output, target)
    return target


def _processor() -> str:
    """What -march=native depends on: a cache folder may be shared by different machines."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        return next(line for line in lines if line.startswith(("flags", "Features")))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()
