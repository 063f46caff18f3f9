"""What C takes for the arguments of a kernel."""

from __future__ import annotations

import ctypes
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor


def pointer(tensor: Tensor) -> ctypes.c_void_p:
    """Where a tensor of the CPU begins; raises ValueError for another device, whose address is none here."""
    if tensor.device.type != "cpu":
        raise ValueError(f"a kernel of the CPU got a tensor on '{tensor.device}'")
    return ctypes.c_void_p(tensor.data_ptr())


def plain(argument: Any) -> Any:
    """What C takes for a tensor of the CPU (its memory), None (no memory), an int (long long) or a float; ctypes values
    stay what they are. Raises ValueError for others."""
    if hasattr(argument, "data_ptr"):
        return pointer(argument)
    if argument is None:
        return ctypes.c_void_p()
    if isinstance(argument, int):
        return ctypes.c_longlong(argument)
    if isinstance(argument, float):
        return ctypes.c_float(argument)
    if isinstance(argument, (ctypes._SimpleCData, ctypes.Structure)):
        return argument
    raise ValueError(f"a kernel takes tensors, numbers and ctypes values, got {type(argument).__name__}")
