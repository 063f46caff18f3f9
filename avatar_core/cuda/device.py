"""Kernels on the GPU through the CUDA driver: no compiler, no CUDA toolkit and no PyTorch extension is needed.

Device code of NAME.cu is what a wheel ships (all generations of GPUs in one file), else what NVRTC makes of the source,
kept in the user's cache folder under a hash of the sources, the architecture and NVRTC's version.
"""

from __future__ import annotations

import ctypes
import os
from contextlib import suppress
from functools import cache as once
from typing import Any

import torch
from torch import Tensor

from ..errors import AvatarError
from . import build, cache, nvrtc
from .arguments import plain


def problem() -> str:
    """Why there are no kernels for the GPU; empty where there are."""
    if torch.version.hip:
        return "this PyTorch is for AMD GPUs, the kernels are for NVIDIA's"
    if not torch.cuda.is_available():
        return "PyTorch sees no CUDA device"
    try:
        _driver()
    except OSError as error:
        return f"the CUDA driver cannot be loaded ({error})"
    if not _all_shipped() and nvrtc.library() is None:
        return f"no device code is shipped and NVRTC is not installed; {nvrtc.HINT}"
    return ""


def origin() -> str:
    """Where device code comes from, for a report."""
    if _all_shipped():
        return "as shipped"
    return "compiled by NVRTC {}.{}".format(*nvrtc.version())


def launch(source: str, kernel: str, grid: tuple[int, int, int], block: tuple[int, int, int], *arguments: Any) -> None:
    """Runs `kernel` of `source`.cu on the current stream of the first tensor's device; returns at once.

    grid, block: blocks, and threads a block. arguments: CUDA tensors on one device (their memory), None (no memory),
    int (as long long or, on every little-endian machine, any narrower integer), float (float), ctypes values (as they
    are). An empty grid does nothing. Raises ValueError for an argument that no kernel can take, AvatarError where CUDA
    fails.
    """
    if 0 in grid:
        return
    device, values = packed(arguments)
    with torch.cuda.device(device):
        function = _function(source, kernel, device.index)
        _call("cuCtxSetCurrent", _context(device.index))  # a thread of our own may have none yet
        addresses = (ctypes.c_void_p * len(values))(*(ctypes.addressof(value) for value in values))
        stream = ctypes.c_void_p(torch.cuda.current_stream(device).cuda_stream)
        what = f"the kernel {kernel} in {source}.cu on {device}"
        _call("cuLaunchKernel", function, *grid, *block, 0, stream, addresses, None, what=what)


def packed(arguments: tuple[Any, ...]) -> tuple[torch.device, list[Any]]:
    """The tensors' device, and a ctypes value an argument."""
    tensors = [argument for argument in arguments if isinstance(argument, Tensor)]
    devices = {tensor.device for tensor in tensors}
    if len(devices) != 1:
        raise ValueError(f"a kernel needs tensors on one device, got {sorted(map(str, devices)) or 'none'}")
    values = [ctypes.c_void_p(a.data_ptr()) if isinstance(a, Tensor) else plain(a) for a in arguments]
    return devices.pop(), values


@once
def _function(source: str, kernel: str, index: int) -> ctypes.c_void_p:
    found = ctypes.c_void_p()
    what = f"the kernel {kernel} in {source}.cu"
    _call("cuModuleGetFunction", ctypes.byref(found), _module(source, index), kernel.encode(), what=what)
    return found


@once
def _module(source: str, index: int) -> ctypes.c_void_p:
    """The loaded device code of a source on a device."""
    _call("cuCtxSetCurrent", _context(index))
    shipped, module = build.device_path(source), ctypes.c_void_p()
    if shipped.exists() and _driver().cuModuleLoadData(ctypes.byref(module), shipped.read_bytes()) == 0:
        return module
    _call("cuModuleLoadData", ctypes.byref(module), _compiled(source, index), what=f"{source}.cu")
    return module


@once
def _context(index: int) -> ctypes.c_void_p:
    """The device's primary context, which is PyTorch's."""
    device, context = ctypes.c_int(), ctypes.c_void_p()
    _call("cuInit", 0)
    _call("cuDeviceGet", ctypes.byref(device), index)
    _call("cuDevicePrimaryCtxRetain", ctypes.byref(context), device)
    return context


def _compiled(source: str, index: int) -> bytes:
    major, minor = torch.cuda.get_device_capability(index)
    capability = 10 * major + minor
    name = f"{source}-{cache.digest(source + '.cu', nvrtc.version())}-sm_{capability}.bin"
    path = cache.folder() / name
    try:
        return path.read_bytes()
    except OSError:
        code = nvrtc.compile_source(cache.SOURCES / f"{source}.cu", capability)
    with suppress(OSError):  # a cache that cannot be written costs time, not the result
        cache.write(path, code)
    return code


def _all_shipped() -> bool:
    return all(build.device_path(path.stem).exists() for path in cache.SOURCES.glob("*.cu"))


@once
def _driver() -> ctypes.CDLL:
    return ctypes.CDLL("nvcuda.dll" if os.name == "nt" else "libcuda.so.1")


def _call(function: str, *arguments: Any, what: str = "the GPU") -> None:
    result = getattr(_driver(), function)(*arguments)
    if result:
        text = ctypes.c_char_p()
        _driver().cuGetErrorString(result, ctypes.byref(text))
        message = text.value.decode() if text.value else f"error {result}"
        raise AvatarError(f"CUDA cannot use {what}: {message} ({function})")
