"""NVIDIA's run-time compiler by ctypes: a .cu file to device code without nvcc, without a GPU and without a driver.

The library comes with PyTorch's CUDA builds, with the wheel nvidia-cuda-nvrtc, or with a CUDA toolkit.
"""

from __future__ import annotations

import ctypes
import os
import sys
from collections.abc import Iterator
from ctypes.util import find_library
from functools import cache
from importlib.util import find_spec
from pathlib import Path

import torch

from ..errors import AvatarError

HINT = f"{sys.executable} -m pip install nvidia-cuda-nvrtc"
_FLAGS = ("--std=c++14",)
_SUCCESS = 0


@cache
def library() -> ctypes.CDLL | None:
    """NVRTC, or None where there is none."""
    for name in _candidates():
        beside = Path(name).parent.glob("libnvrtc-builtins.so*") if os.path.isabs(name) else ()
        try:
            for part in beside:
                ctypes.CDLL(str(part))  # NVRTC looks for it by its name, and never in a wheel's folder
            found = ctypes.CDLL(name)
        except OSError:
            continue
        found.nvrtcGetErrorString.restype = ctypes.c_char_p
        return found
    return None


@cache
def version() -> tuple[int, int]:
    major, minor = ctypes.c_int(), ctypes.c_int()
    _check(_needed().nvrtcVersion(ctypes.byref(major), ctypes.byref(minor)), "its version")
    return major.value, minor.value


@cache
def architectures() -> tuple[int, ...]:
    """Compute capabilities that it compiles for, rising: 75 is 7.5."""
    nvrtc, count = _needed(), ctypes.c_int()
    _check(nvrtc.nvrtcGetNumSupportedArchs(ctypes.byref(count)), "its architectures")
    found = (ctypes.c_int * count.value)()
    _check(nvrtc.nvrtcGetSupportedArchs(found), "its architectures")
    return tuple(sorted(found))


def compile_source(path: Path, capability: int) -> bytes:
    """Device code of a .cu file for a compute capability (75 is 7.5); headers are those beside it.

    A binary where this NVRTC knows the capability, else PTX for the newest below it, which the driver translates.
    Raises AvatarError without NVRTC, for a capability older than all it knows and for a source that does not compile.
    """
    nvrtc = _needed()
    older = [known for known in architectures() if known <= capability]
    if not older:
        raise AvatarError(f"NVRTC {version()[0]}.{version()[1]} compiles for no GPU as old as sm_{capability}")
    binary = older[-1] == capability
    options = [*_FLAGS, f"--gpu-architecture={'sm' if binary else 'compute'}_{older[-1]}"]
    headers = sorted(path.parent.glob("*.h"))
    program = ctypes.c_void_p()
    created = nvrtc.nvrtcCreateProgram(
        ctypes.byref(program),
        path.read_bytes(),
        path.name.encode(),
        len(headers),
        _strings([header.read_bytes() for header in headers]),
        _strings([header.name.encode() for header in headers]),
    )
    _check(created, path.name)
    try:
        if nvrtc.nvrtcCompileProgram(program, len(options), _strings([option.encode() for option in options])):
            raise AvatarError(f"NVRTC cannot compile {path.name} for sm_{capability}: {_log(nvrtc, program)}")
        return _code(nvrtc, program, "CUBIN" if binary else "PTX")
    finally:
        nvrtc.nvrtcDestroyProgram(ctypes.byref(program))


def _candidates() -> Iterator[str]:
    """Names and paths to try: PyTorch's own first, since it fits PyTorch's driver."""
    windows = os.name == "nt"
    if torch.version.cuda:
        major = torch.version.cuda.split(".")[0]
        yield f"nvrtc64_{major}0_0.dll" if windows else f"libnvrtc.so.{major}"
    spec = find_spec("nvidia")
    wheels = [Path(place) for place in (spec.submodule_search_locations if spec else None) or ()]
    folders = [folder for wheel in wheels for folder in sorted(wheel.glob("*/bin*" if windows else "*/lib*"))[::-1]]
    folders.append(Path(torch.__file__).parent / "lib")
    for variable in ("CUDA_PATH", "CUDA_HOME"):
        if os.environ.get(variable):
            folders.append(Path(os.environ[variable], "bin" if windows else "lib64"))
    for folder in folders:
        for path in sorted(folder.glob("**/nvrtc64_*.dll" if windows else "libnvrtc.so*"), reverse=True):
            if ".alt." not in path.name:
                if windows:
                    os.add_dll_directory(str(path.parent))  # type: ignore[attr-defined,unused-ignore]
                yield str(path)
    installed = find_library("nvrtc")
    if installed:
        yield installed


def _needed() -> ctypes.CDLL:
    found = library()
    if found is None:
        raise AvatarError(f"NVRTC, the compiler for the GPU, is not installed; {HINT}")
    return found


def _check(result: int, what: str) -> None:
    if result != _SUCCESS:
        raise AvatarError(f"NVRTC fails at {what}: {_needed().nvrtcGetErrorString(result).decode()}")


def _strings(values: list[bytes]) -> ctypes.Array[ctypes.c_char_p]:
    return (ctypes.c_char_p * len(values))(*values)


def _log(nvrtc: ctypes.CDLL, program: ctypes.c_void_p) -> str:
    size = ctypes.c_size_t()
    nvrtc.nvrtcGetProgramLogSize(program, ctypes.byref(size))
    text = ctypes.create_string_buffer(size.value)
    nvrtc.nvrtcGetProgramLog(program, text)
    return text.value.decode(errors="replace").strip()


def _code(nvrtc: ctypes.CDLL, program: ctypes.c_void_p, kind: str) -> bytes:
    size = ctypes.c_size_t()
    _check(getattr(nvrtc, f"nvrtcGet{kind}Size")(program, ctypes.byref(size)), kind)
    code = ctypes.create_string_buffer(size.value)
    _check(getattr(nvrtc, f"nvrtcGet{kind}")(program, code), kind)
    return code.raw
