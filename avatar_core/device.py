"""The device that pictures and training are computed on."""

from __future__ import annotations

import torch

from .errors import AvatarError


def choose(device: str) -> str:
    """`auto` to a device that is here; raises AvatarError for one that is not."""
    if device == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    try:
        torch.zeros(1, device=device)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise AvatarError(f"the device '{device}' cannot be used: {str(error).splitlines()[0]}") from None
    return device
