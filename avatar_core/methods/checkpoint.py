"""Published checkpoints, read without running what is in them."""

from __future__ import annotations

import pickle
from collections.abc import Iterable
from pathlib import Path
from types import ModuleType
from typing import Any
from zipfile import is_zipfile

import torch
from torch import Tensor

from ..errors import AvatarError

_MAX_BYTES = 4 << 30


class CheckpointError(AvatarError):
    """A checkpoint that cannot be imported; the sentence names the file and the tensor."""


def load(path: Path, system: str, classes: Iterable[type] = (), foreign: bool = False) -> dict[str, Any]:
    """The dictionary in a file of torch.save. system: whose checkpoint it should be, for errors.

    Only tensors, plain values and `classes` are made. foreign: other classes that the file names, such as a
    training framework's callbacks, become empty stand-ins instead of an error; nothing of them is imported or called.
    Raises CheckpointError.
    """
    try:
        if path.stat().st_size > _MAX_BYTES:
            raise CheckpointError(f"{path} is larger than any checkpoint of {system}")
        if foreign:
            data = torch.load(path, map_location="cpu", weights_only=False, pickle_module=_Restricted)
        else:
            with torch.serialization.safe_globals(list(classes)):
                data = torch.load(path, map_location="cpu", weights_only=True, mmap=is_zipfile(path))
        if not isinstance(data, dict):
            raise TypeError("it is no dictionary")
        return data
    except CheckpointError:
        raise
    except OSError as error:
        raise CheckpointError(f"{path} cannot be read: {error.strerror or error}") from error
    except Exception as error:  # torch raises many kinds for foreign and damaged files
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise CheckpointError(f"{path} is no {system} checkpoint, or holds more than tensors: {reason}") from error


def take(state: dict[str, Tensor], shapes: dict[str, tuple[int, ...]], path: Path, system: str) -> dict[str, Tensor]:
    """The tensors of these names; raises CheckpointError for one that is missing, has another shape or type, or is not
    finite."""
    for name, shape in shapes.items():
        found = state.get(name)
        if found is None:
            raise CheckpointError(f"{path} has no '{name}'; it holds no {system}")
        if tuple(found.shape) != shape or found.dtype != torch.float32:
            raise CheckpointError(
                f"{path}: '{name}' must be float32 {shape}, is {str(found.dtype)[6:]} {tuple(found.shape)}"
            )
        if not bool(torch.isfinite(found).all()):
            raise CheckpointError(f"{path}: '{name}' holds NaN or infinity")
    return {name: state[name] for name in shapes}


class _Inert:
    """Stands for an object of a class that is not wanted."""

    def __new__(cls, *_: Any, **__: Any) -> _Inert:
        return super().__new__(cls)

    def __init__(self, *_: Any, **__: Any) -> None:
        pass

    def __setstate__(self, _: Any) -> None:
        pass

    def __setitem__(self, _: Any, __: Any) -> None:
        pass

    def append(self, _: Any) -> None:
        pass

    def extend(self, _: Any) -> None:
        pass


_KINDS = ("Float", "Double", "Half", "BFloat16", "Long", "Int", "Short", "Char", "Byte", "Bool")
_ALLOWED = {
    ("collections", "OrderedDict"),
    ("torch._utils", "_rebuild_tensor_v2"),
    ("torch._utils", "_rebuild_parameter"),
    *(("torch", f"{kind}Storage") for kind in _KINDS),
    ("torch", "Size"),
}  # what tensors are made of in a file


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        return super().find_class(module, name) if (module, name) in _ALLOWED else _Inert


class _Restricted(ModuleType):
    """What torch.load takes for the module pickle."""

    Unpickler = _Unpickler

    @staticmethod
    def load(file: Any, **options: Any) -> Any:
        return _Unpickler(file, **options).load()
