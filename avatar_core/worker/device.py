"""The device a worker renders on, and the memory it has."""

from __future__ import annotations

import gc
import platform
import sys
from typing import Any

from ..errors import AvatarError
from .actors import RequestError


def describe(device: str) -> dict[str, Any]:
    """torch's version, device, its name, the kernels' backend, and [free, total] bytes of a GPU's memory."""
    torch = _torch()
    return {
        "torch": torch.__version__,
        "device": device,
        "name": torch.cuda.get_device_name(device) if "cuda" in device else platform.machine(),
        "backend": _backend(device),
        "vram": vram(device),
    }


def choose(device: str) -> str:
    """`auto` to a device that is here; raises RequestError for one that is not."""
    _torch()  # says what to install where it is missing
    from .. import device as devices

    try:
        return devices.choose(device)
    except AvatarError as error:
        raise RequestError(str(error)) from None


def vram(device: str) -> list[int] | None:
    """[free, total] bytes of a CUDA device, None for other devices."""
    if not device.startswith("cuda"):
        return None
    return list(_torch().cuda.mem_get_info(device))


def room(device: str) -> str:
    """The sentence's start for a frame that does not fit."""
    memory = vram(device)
    if memory is None:
        return "this machine has too little memory for the frame"
    free, total = (value / 2**30 for value in memory)
    return f"the GPU has too little memory for the frame ({free:.1f} of {total:.1f} GiB are free)"


def release() -> None:
    """Give memory that is cached and not used back to the device."""
    gc.collect()
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available():
        torch.cuda.empty_cache()


def out_of_memory(error: BaseException) -> bool:
    if isinstance(error, MemoryError):
        return True
    known = ("out of memory", "can't allocate memory", "not enough memory")
    return isinstance(error, RuntimeError) and any(part in str(error).lower() for part in known)


def _torch() -> Any:
    try:
        import torch
    except ImportError as error:
        raise RequestError(
            f"PyTorch cannot be imported by {sys.executable} ({error}); install it there with:"
            f" {sys.executable} -m pip install torch",
            "missing",
        ) from None
    return torch


def _backend(device: str) -> str:
    from ..cuda import backend

    return backend(device).name
