"""Weights of networks that the user has: nothing is downloaded, and nothing but tensors is read."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from ..errors import AvatarError

_MAX_BYTES = 1 << 30


def read_tensors(path: Path, wanted: str) -> dict[str, Tensor]:
    """Tensors by name from a safetensors or a torch file, which is read by the restricted unpickler. wanted: what must
    be in it, for errors. Raises AvatarError with one sentence when the file is missing, foreign or damaged."""
    try:
        if path.stat().st_size > _MAX_BYTES:
            raise AvatarError(f"{path} is larger than any {wanted}")
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file

            return load_file(path)
        state = torch.load(path, map_location="cpu", weights_only=True)
    except AvatarError:
        raise
    except OSError as error:
        raise AvatarError(
            f"{path} cannot be read ({error.strerror or error}); save {wanted} there, or leave the option out"
        ) from error
    except Exception as error:  # torch and safetensors raise many kinds for foreign and damaged files
        raise AvatarError(f"{path} holds no tensors by name that are safe to read; save {wanted} there") from error
    if not isinstance(state, dict):
        raise AvatarError(f"{path} holds no tensors by name; save {wanted} there")
    return state


def take(state: dict[str, Tensor], names: tuple[str, ...], shape: tuple[int, ...], path: Path) -> Tensor:
    """The tensor that is stored under one of `names`, float32. Raises AvatarError, which calls it by the first."""
    found = next((state[name] for name in names if name in state), None)
    if not isinstance(found, Tensor) or tuple(found.shape) != shape or not bool(torch.isfinite(found).all()):
        what = f"shape {tuple(found.shape)}" if isinstance(found, Tensor) else "nothing"
        raise AvatarError(f"{path}: '{names[0]}' must be finite numbers of shape {shape}, found {what}")
    return found.float()
