# mypy: ignore-errors
"""A GPU for machines without one: the .cu files, compiled for the CPU, behind the functions of CUDA's driver that are
used, and tensors of the pretended device. What is tested is all of ours: which tensors go where, each argument's place
and size, and the shells' own arithmetic. As a plugin: `python -m pytest -p tests.pretend.gpu -m gpu tests/cuda`.
"""

from __future__ import annotations

import contextlib
import ctypes
import re
import subprocess
import tempfile
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from avatar_core.cuda import cache, device, loader

from .device import DEVICE, Pretend, Pretended

HEADER = Path(__file__).parent / "emulated.h"
FLAGS = ("-std=c++17", "-O1", "-shared", "-fPIC", "-w", "-ffp-contract=off")
_KERNEL = re.compile(r'extern "C" __global__ void (\w+)\(')
_NOT_FOUND = 500  # CUDA_ERROR_NOT_FOUND


class Driver:
    """The functions of libcuda that device.py calls."""

    def __init__(self) -> None:
        self._folder = tempfile.TemporaryDirectory()
        self._modules: list[ctypes.CDLL] = []
        self._kernels: list[Any] = []
        self.launched: list[str] = []

    def cuInit(self, flags: int) -> int:
        return 0

    cuCtxSetCurrent = cuInit

    def cuDeviceGet(self, result: Any, index: int) -> int:
        return 0

    cuDevicePrimaryCtxRetain = cuDeviceGet

    def cuModuleLoadData(self, result: Any, code: bytes) -> int:
        result._obj.value = len(self._modules) + 1
        self._modules.append(ctypes.CDLL(code.decode()))
        return 0

    def cuModuleGetFunction(self, result: Any, module: Any, name: bytes) -> int:
        try:
            kernel = self._modules[module.value - 1]["emulated_" + name.decode()]
        except AttributeError:
            return _NOT_FOUND
        result._obj.value = len(self._kernels) + 1
        self._kernels.append((name.decode(), kernel))
        return 0

    def cuLaunchKernel(self, function: Any, *rest: Any) -> int:
        *sides, _, _, arguments, _ = rest
        name, kernel = self._kernels[function.value - 1]
        self.launched.append(name)
        kernel(arguments, (ctypes.c_uint * 6)(*sides))
        return 0

    def cuGetErrorString(self, error: int, text: Any) -> int:
        text._obj.value = b"named symbol not found"
        return 0

    def compiled(self, source: str, index: int) -> bytes:
        """The path of a library with a .cu file's kernels, as code that `cuModuleLoadData` takes."""
        path = cache.SOURCES / f"{source}.cu"
        text = path.read_text(encoding="utf-8")
        together = "true" if "_sync(" in text else "false"
        made = Path(self._folder.name) / f"{source}.cpp"
        shells = "".join(
            f'extern "C" void emulated_{name}(void** given, const unsigned* sides)'
            f" {{ run_grid({name}, given, sides, {together}); }}\n"
            for name in _KERNEL.findall(text)
        )
        made.write_text(f'#include "{HEADER}"\n#include "{path}"\n{shells}', encoding="utf-8")
        library = made.with_suffix(".so")
        command = ["c++", *FLAGS, f"-I{cache.SOURCES}", str(made), "-o", str(library), "-pthread"]
        done = subprocess.run(command, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return str(library).encode()


def _backend(kind: str = "cpu") -> loader.BackendInfo:
    return loader.BackendInfo("cuda", "emulated") if kind == DEVICE.type else _found(kind)


DRIVER = Driver()
_found = loader.backend
loader.backend = _backend
device._driver = lambda: DRIVER
device._compiled = DRIVER.compiled
device.build = types.SimpleNamespace(device_path=lambda source: Path("none is shipped"))
Pretended.is_cuda = property(lambda self: True)
Pretended.data_ptr = lambda self: self.inner.data_ptr()
torch.Tensor.cuda = lambda self: self.to(DEVICE)
torch.cuda.is_available = lambda: True
torch.cuda.device = lambda place: contextlib.nullcontext()
torch.cuda.current_stream = lambda place: types.SimpleNamespace(cuda_stream=0)
_to = torch.Tensor.to


def _moved(self: torch.Tensor, *arguments: Any, **options: Any) -> torch.Tensor:
    return _to(self, *(DEVICE if a == "cuda" else a for a in arguments), **options)


torch.Tensor.to = _moved


@pytest.fixture(autouse=True)
def emulated() -> Iterator[None]:
    """The device is there; every test has to start a kernel on it."""
    before = len(DRIVER.launched)
    with Pretend():
        yield
    assert len(DRIVER.launched) > before, "no kernel was started"


def pytest_terminal_summary(terminalreporter: Any) -> None:
    kernels = {name for path in cache.SOURCES.glob("*.cu") for name in _KERNEL.findall(path.read_text("utf-8"))}
    terminalreporter.line(f"kernels that no test started: {sorted(kernels - set(DRIVER.launched))}")
