# mypy: ignore-errors
"""A device for machines without a GPU: tensors that say they lie on it are computed on the CPU, and mixing them with
others, reading their addresses or turning them into arrays without a copy is an error, as with a GPU.

It stays in the process: for scripts of their own. Kernels are not found for it, so their references run.
"""

from __future__ import annotations

from typing import Any

import torch
from torch.utils._device import _device_constructors
from torch.utils._mode_utils import no_dispatch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.backend_registration import _setup_privateuseone_for_python_backend

_setup_privateuseone_for_python_backend("pretend")
DEVICE = torch.device("pretend:0")
_MOVING = ("_to_copy", "to.", "copy_", "_copy_from", "type_as", "new_")
_PLAIN = ("_local_scalar_dense.default", "equal.default", "is_nonzero.default")
_device_constructors()  # PyTorch's list of them is made now, with its own `torch.tensor`, for `with torch.device(...)`
_make = torch.tensor


class Pretended(torch.Tensor):
    """A tensor of the device; `inner` holds its numbers."""

    @staticmethod
    def __new__(cls, inner: torch.Tensor) -> Pretended:
        return torch.Tensor._make_wrapper_subclass(
            cls,
            inner.shape,
            dtype=inner.dtype,
            device=DEVICE,
            strides=inner.stride(),
            storage_offset=inner.storage_offset(),
        )

    def __init__(self, inner: torch.Tensor) -> None:
        self.inner = inner

    def numpy(self, *, force: bool = False) -> Any:
        if not force:
            raise TypeError("a tensor of another device has to be copied: numpy(force=True)")
        return self.inner.detach().numpy()

    def __getitem__(self, place: Any) -> torch.Tensor:
        places = place if isinstance(place, tuple) else (place,)
        return super().__getitem__(tuple(_make(x).to(DEVICE) if isinstance(x, list | tuple) else x for x in places))

    def __reduce_ex__(self, protocol: Any) -> Any:
        return self.inner.detach().__reduce_ex__(protocol)  # files have no devices

    def tolist(self) -> Any:
        return self.inner.tolist()

    def data_ptr(self) -> int:
        raise RuntimeError("an address on another device")

    def new_tensor(self, data: Any, **options: Any) -> torch.Tensor:
        return _make(data, dtype=options.get("dtype", self.dtype), device="cpu").to(DEVICE)

    @classmethod
    def __torch_dispatch__(cls, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return _run(function, args, kwargs or {})


class Pretend(TorchDispatchMode):
    """`with Pretend():` the device is there."""

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return _run(function, args, kwargs or {})


def _run(function: Any, args: Any, kwargs: Any) -> Any:
    name, given = function.__name__, (*args, *kwargs.values())
    flat = [x for one in given for x in (one if isinstance(one, list | tuple) else (one,))]
    here = [x for x in flat if isinstance(x, Pretended)]
    there = [x for x in flat if isinstance(x, torch.Tensor) and not isinstance(x, Pretended) and x.dim() > 0]
    if name.startswith(("index.Tensor", "index_put")) and isinstance(args[0], Pretended):  # by CPU indices: fine
        there = [x for x in args[2:3] if x.dim() > 0 and not isinstance(x, Pretended)]
    if here and there and not name.startswith(_MOVING):
        raise RuntimeError(f"{function}: tensors on two devices")
    devices = [x for x in flat if isinstance(x, torch.device)]
    result = function(*(_each(_inner, x) for x in args), **{key: _each(_inner, x) for key, x in kwargs.items()})
    if torch.Tag.inplace_view in function.tags and isinstance(args[0], Pretended):  # squeeze_: of the outer tensor too
        with no_dispatch():
            function(*args, **kwargs)
    if function._schema.is_mutable and args and isinstance(args[0], Pretended) and isinstance(result, torch.Tensor):
        return args[0]
    if name in _PLAIN or not (devices[0].type == DEVICE.type if devices else here):
        return result
    return _each(lambda x: Pretended(x) if isinstance(x, torch.Tensor) else x, result)


def _each(function: Any, x: Any) -> Any:
    """Arguments and results of operators are lists at most of plain things, which `tree_map` is slow for."""
    return type(x)(map(function, x)) if isinstance(x, list | tuple) else function(x)


def _inner(x: Any) -> Any:
    if isinstance(x, Pretended):
        return x.inner
    return torch.device("cpu") if isinstance(x, torch.device) and x.type == DEVICE.type else x


def _tensor(data: Any, *, device: Any = None, **options: Any) -> torch.Tensor:
    if device is None or torch.device(device).type != DEVICE.type:
        return _make(data, device=device, **options)
    return _make(data, device="cpu", **options).to(DEVICE)


torch.tensor = _tensor  # the real one asks for the device's memory without telling the mode
torch.inference_mode = lambda mode=True: torch.set_grad_enabled(not mode)
