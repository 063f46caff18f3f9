"""Finds or builds the native kernels. Without a compiler there are none, and every op runs its PyTorch reference.

The library has a plain C interface, so it depends on no version of Python or torch. It is built once, by the first
compiler found, into the user's cache folder; its name holds a hash of sources, command and processor.
"""

from __future__ import annotations

import ctypes
import hashlib
import os
import platform
import shlex
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path

from torch import Tensor

from ..errors import AvatarError

_HERE = Path(__file__).parent
_GNU = [
    "-O3",
    "-std=c++14",
    "-fno-exceptions",
    "-fno-rtti",
    "-ffp-contract=fast",
    "-fno-math-errno",
    "-fno-trapping-math",
    "-shared",
]
_TIMEOUT = 120  # seconds for a build
_HINT = "install a C++ compiler (apt install g++, xcode-select --install, Visual Studio) or: pip install ziglang"


@dataclass(frozen=True)
class BackendInfo:
    """name: 'native' or 'reference'. reason: why this one. faster: what to do for a faster one; may be empty."""

    name: str
    reason: str
    faster: str = ""


def backend() -> BackendInfo:
    """What the ops use on the CPU."""
    return _load()[1]


def library() -> ctypes.CDLL | None:
    """The native kernels, or None: use the reference."""
    return _load()[0]


def kernels() -> ctypes.CDLL:
    """The native kernels, where `library()` said that there are some."""
    native = library()
    assert native is not None
    return native


def choose(*tensors: Tensor) -> str:
    """'native', 'cuda' or 'reference': where an op on these tensors runs. Raises ValueError if they are on several
    devices."""
    devices = {tensor.device for tensor in tensors}
    if len(devices) > 1:
        raise ValueError(f"tensors must be on one device, got {', '.join(sorted(map(str, devices)))}")
    return "native" if devices.pop().type == "cpu" and library() is not None else "reference"


def pointer(tensor: Tensor) -> ctypes.c_void_p:
    return ctypes.c_void_p(tensor.data_ptr())


@cache
def _load() -> tuple[ctypes.CDLL | None, BackendInfo]:
    wanted = os.environ.get("AVATAR_BACKEND", "")
    if wanted not in ("", "reference", "native"):
        raise AvatarError(f"AVATAR_BACKEND must be 'reference' or 'native', got '{wanted}'")
    if wanted == "reference":
        return None, BackendInfo("reference", "AVATAR_BACKEND asks for it", "unset AVATAR_BACKEND")
    problems = []
    for command in _compilers():
        try:
            path = _build(command)
            return ctypes.CDLL(str(path)), BackendInfo("native", f"built with {command[0]}: {path}")
        except (OSError, subprocess.SubprocessError) as error:
            output = getattr(error, "stderr", None)
            problems.append(f"{command[0]}: {(output or str(error)).strip().splitlines()[-1]}")
    reason = "; ".join(problems) or "no C++ compiler was found"
    if wanted == "native":
        raise AvatarError(f"AVATAR_BACKEND=native, but the kernels cannot be built: {reason}; {_HINT}")
    return None, BackendInfo("reference", reason, _HINT)


def _compilers() -> list[list[str]]:
    """Commands without sources and output, best first."""
    found = []
    native = ["-march=native"] if platform.machine().lower() in ("x86_64", "amd64") else []
    position = [] if os.name == "nt" else ["-fPIC"]
    for name in (os.environ.get("CXX", ""), "c++", "g++", "clang++"):
        words = shlex.split(name)
        if words and shutil.which(words[0]):
            found.append([*words, *_GNU, *native, *position])
            break
    if find_spec("ziglang") is not None:
        zig = [sys.executable, "-m", "ziglang", "c++"]
        found.append([*zig, *_GNU, "-fno-slp-vectorize", "-fno-sanitize=undefined", *native, *position])
    if os.name == "nt" and shutil.which("cl"):
        found.append(["cl", "/nologo", "/O2", "/LD", "/arch:AVX2", "/fp:precise"])
    return found


def _build(command: list[str]) -> Path:
    """The library of this command; made if it is not in the cache. Two processes may do so at once."""
    digest = hashlib.sha256(repr((command, _processor())).encode())
    for path in sorted([*_HERE.glob("*.h"), *_HERE.glob("*.cpp")]):
        digest.update(path.name.encode() + path.read_bytes())
    suffix = {"nt": ".dll"}.get(os.name, ".so")
    target = _cache_folder() / f"kernels-{digest.hexdigest()[:20]}{suffix}"
    if target.exists():
        return target
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent) as folder:
        output = Path(folder) / target.name
        sources = [str(path) for path in sorted(_HERE.glob("*.cpp"))]
        named = [f"/Fe:{output}"] if command[0] == "cl" else ["-o", str(output)]
        subprocess.run(
            [*command, *sources, *named],
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


def _cache_folder() -> Path:
    if os.name == "nt":
        base = Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local")
    else:
        base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return base / "avatar_core"
