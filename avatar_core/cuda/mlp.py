"""Small networks: linear layers with ReLU between them, leaky ReLU or softplus. Native on the CPU when no gradient is
needed, else PyTorch.

A GPU has no kernel of ours: the product of large matrices is what its libraries are for.
"""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from typing import Any, cast

import torch
from torch import Tensor
from torch.nn.functional import leaky_relu, linear

from .arguments import pointer
from .loader import choose, kernels
from .threads import parallel

_WIDEST = 320  # channels of a layer, as in mlp.cpp
_CHUNK = 8192  # points whose values fit the cache
_LEAST = 512  # points worth a thread


class _Layer(ctypes.Structure):
    _fields_ = (
        ("weight", ctypes.c_void_p),
        ("bias", ctypes.c_void_p),
        ("stride", ctypes.c_longlong),
        ("inputs", ctypes.c_int),
        ("outputs", ctypes.c_int),
    )


class _Part(ctypes.Structure):
    _fields_ = (("values", ctypes.c_void_p), ("stride", ctypes.c_longlong), ("width", ctypes.c_longlong))


class _Activation(ctypes.Structure):
    _fields_ = (("slope", ctypes.c_float), ("sharpness", ctypes.c_float))


def run_mlp(
    parts: Sequence[Tensor],
    weights: Sequence[Tensor],
    biases: Sequence[Tensor | None],
    slope: float = 0.0,
    sharpness: float = 0.0,
    hidden: bool = False,
) -> Tensor:
    """The outputs [N, O] of a network; differentiable with respect to all tensors.

    parts: the inputs, [N, C_k] each, side by side; spares their concatenation. weights: a layer's [outputs, inputs]
    each. biases: [outputs] or None each. slope: of what is below 0 between layers. sharpness: above 0, `softplus` of it
    instead. hidden: whether that follows the last layer too. All of one float type (but under autocast) and device.
    Raises ValueError.
    """
    tensors = [*parts, *weights, *(bias for bias in biases if bias is not None)]
    _check(parts, weights, biases, tensors)
    if not _native(tensors, max(weights[0].shape[1], *(len(weight) for weight in weights))):
        return mlp_reference(parts, weights, biases, slope, sharpness, hidden)
    parts, weights = [_rows(part) for part in parts], [_rows(weight) for weight in weights]
    biases = [None if bias is None else bias.contiguous() for bias in biases]
    count = len(parts[0])
    out = parts[0].new_empty(count, len(weights[-1]))
    inputs = [_Part(part.data_ptr(), part.stride(0), part.shape[1]) for part in parts]
    layers = [
        _Layer(
            weight.data_ptr(), None if bias is None else bias.data_ptr(), weight.stride(0), weight.shape[1], len(weight)
        )
        for weight, bias in zip(weights, biases, strict=True)
    ]
    native, described = kernels(), ((_Layer * len(layers))(*layers), len(layers))
    native.mlp_packed.restype = ctypes.c_longlong
    packed = out.new_empty(native.mlp_packed(*described))
    native.mlp_pack(*described, pointer(packed))
    between = _Activation(slope, sharpness)
    arguments = (
        (_Part * len(inputs))(*inputs),
        len(inputs),
        *described,
        pointer(packed),
        between,
        between if hidden else _Activation(1.0, 0.0),
        pointer(out),
    )
    parallel(native.mlp_forward, arguments, count, _LEAST)
    return out


def mlp_reference(
    parts: Sequence[Tensor],
    weights: Sequence[Tensor],
    biases: Sequence[Tensor | None],
    slope: float = 0.0,
    sharpness: float = 0.0,
    hidden: bool = False,
) -> Tensor:
    """The definition, for any float type and device; without gradients, in chunks that fit the cache: 2-4 times faster
    on a CPU."""
    count = len(parts[0])
    size = count if torch.is_grad_enabled() or parts[0].device.type != "cpu" else _CHUNK
    if count > size:
        chunks = zip(*(part.split(size) for part in parts), strict=True)
        return torch.cat([mlp_reference(chunk, weights, biases, slope, sharpness, hidden) for chunk in chunks])
    x = parts[0] if len(parts) == 1 else torch.cat(list(parts), 1)
    for layer, (weight, bias) in enumerate(zip(weights, biases, strict=True)):
        x = linear(_activated(x, slope, sharpness) if layer else x, weight, bias)
    return _activated(x, slope, sharpness) if hidden else x


def _activated(x: Tensor, slope: float, sharpness: float) -> Tensor:
    if sharpness:
        return softplus(x, sharpness)
    return leaky_relu(x, slope) if slope else torch.relu(x)


def softplus(x: Tensor, sharpness: float) -> Tensor:
    """log(1 + exp(s x)) / s = max(x, 0) + log(1 + exp(-s |x|)) / s, s being the sharpness: exp and log are vectorised,
    PyTorch's own softplus is not, and took three quarters of such networks' time."""
    return cast(Tensor, _Softplus.apply(x, sharpness)) if torch.is_grad_enabled() else _Softplus.forward(x, sharpness)


class _Softplus(torch.autograd.Function):
    @staticmethod
    def forward(x: Tensor, sharpness: float) -> Tensor:
        return x.abs().mul_(-sharpness).exp_().add_(1).log_().div_(sharpness).add_(x.clamp(min=0))

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, float], output: Tensor) -> None:
        ctx.save_for_backward(inputs[0])
        ctx.sharpness = inputs[1]

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        return gradients[0] * torch.sigmoid(ctx.sharpness * ctx.saved_tensors[0]), None


def _native(tensors: Sequence[Tensor], widest: int) -> bool:
    if torch.is_grad_enabled() and any(tensor.requires_grad for tensor in tensors):
        return False
    first = tensors[0]
    if first.dtype != torch.float32 or _autocast(first) or widest > _WIDEST:
        return False
    return choose(*tensors) == "native"


def _autocast(tensor: Tensor) -> bool:
    return tensor.device.type in ("cpu", "cuda") and torch.is_autocast_enabled(tensor.device.type)


def _rows(tensor: Tensor) -> Tensor:
    """[N, C] with rows that are contiguous, at any stride from one another."""
    return tensor if tensor.shape[1] <= 1 or tensor.stride(1) == 1 else tensor.contiguous()


def _check(
    parts: Sequence[Tensor], weights: Sequence[Tensor], biases: Sequence[Tensor | None], tensors: Sequence[Tensor]
) -> None:
    if not parts or any(part.dim() != 2 or len(part) != len(parts[0]) for part in parts):
        raise ValueError(f"a network's inputs must be [N, C] each, got {[tuple(part.shape) for part in parts]}")
    width = sum(part.shape[1] for part in parts)
    shapes = [tuple(weight.shape) for weight in weights]
    if not weights or len(weights) != len(biases):
        raise ValueError(f"a network needs as many biases (or None) as matrices, got {len(biases)} and {len(weights)}")
    for shape, bias in zip(shapes, biases, strict=True):
        if len(shape) != 2 or shape[0] == 0 or shape[1] != width or (bias is not None and bias.shape != shape[:1]):
            raise ValueError(f"a layer of {width} inputs must be [O, {width}] and its bias [O], got {shapes}")
        width = shape[0]
    types = {(tensor.dtype, tensor.device) for tensor in tensors}
    if not parts[0].is_floating_point() or (len(types) != 1 and not _autocast(parts[0])):
        raise ValueError(f"a network and its inputs must have one float type and device, got {sorted(map(str, types))}")
