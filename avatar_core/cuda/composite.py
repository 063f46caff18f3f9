"""Emission and absorption along rays, on packed samples; native, on the GPU, or in PyTorch.

With density s_i (1/m) over a step d: x_i = s_i d is an optical depth, a_i = 1 - exp(-x_i), T_i = prod_{k<i} (1 - a_k),
w_i = a_i T_i, and a ray's value is sum_i w_i v_i (Max 1995, eq. 10; as in every radiance field). Rays may come in
several parts, front to back: a part starts from the optical depth that lies before it.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from .arguments import plain
from .loader import choose, kernels
from .threads import parallel

_BLOCK = 256  # CUDA threads


class Composite(NamedTuple):
    """value: [R, C] sum of weight * value. coverage: [R] sum of weights. depth: [R] optical depth up to and with these
    samples, what the next part of the rays starts from."""

    value: Tensor
    coverage: Tensor
    depth: Tensor


def composite(depth: Tensor, value: Tensor, ray: Tensor, before: Tensor, stop: float = 0.0) -> Composite:
    """A part of R rays, front to back; differentiable with respect to depth, value and before.

    depth: [S] optical depths, not negative. value: [S, C]. ray: [S] int64, rising. before: [R] optical depth in front
    of each ray's first sample. stop: transmittance below which nothing is seen. Raises ValueError.
    """
    rays = len(before)
    _check_ray(ray, rays)
    weight = sample_weights(depth, ray, before[ray], stop)
    coverage = accumulate(weight, None, ray, rays)
    passed = before + accumulate(depth, None, ray, rays)
    return Composite(accumulate(weight, value, ray, rays), coverage, passed)


def sample_weights(depth: Tensor, ray: Tensor, before: Tensor | None = None, stop: float = 0.0) -> Tensor:
    """The weight of each sample [S]; differentiable with respect to depth and before.

    depth: [S] optical depths, not negative. ray: [S] int64, rising. before: [S] optical depth in front of the first
    sample of each ray. stop: transmittance in front of a sample below which it weighs nothing. Raises ValueError.
    """
    tensors = (depth, ray) if before is None else (depth, ray, before)
    backend = choose(*tensors)
    if any(tensor.shape != ray.shape or tensor.dim() != 1 for tensor in tensors):
        raise ValueError(f"depth, ray and before must be [S], got {[tuple(tensor.shape) for tensor in tensors]}")
    floats = {tensor.dtype for tensor in (depth, before) if tensor is not None}
    if ray.dtype != torch.int64 or len(floats) != 1 or not depth.is_floating_point():
        raise ValueError(f"depth and before must be of one float type, ray int64, got {[t.dtype for t in tensors]}")
    if backend == "reference" or depth.dtype != torch.float32:
        return weights_reference(depth, ray, before, stop)
    return _Weights.apply(depth, ray, before, stop)


def accumulate(weight: Tensor, value: Tensor | None, ray: Tensor, rays: int) -> Tensor:
    """sum of weight * value over each ray: [rays, C], or [rays] if `value` is None; differentiable.

    weight: [S]. value: [S, C]. ray: [S] int64, rising. Raises ValueError.
    """
    backend = choose(weight, ray) if value is None else choose(weight, value, ray)
    if weight.shape != ray.shape or ray.dim() != 1 or ray.dtype != torch.int64:
        raise ValueError(f"weight and ray must be [S], ray int64, got {weight.shape}, {ray.shape} {ray.dtype}")
    if value is not None and (value.dim() != 2 or len(value) != len(ray) or value.dtype != weight.dtype):
        raise ValueError(f"value must be [S, C] of weight's type, got {tuple(value.shape)} {value.dtype}")
    _check_ray(ray, rays)
    if backend == "reference" or weight.dtype != torch.float32:
        return accumulate_reference(weight, value, ray, rays)
    return _Sums.apply(weight, value, ray, rays)


def ranks(ray: Tensor) -> Tensor:
    """The place of each sample on its own ray, from 0: [S]. `ray` [S] is sorted."""
    index = torch.arange(ray.numel(), device=ray.device)
    if ray.numel() == 0:
        return index
    starts = torch.ones_like(ray, dtype=torch.bool)
    starts[1:] = ray[1:] != ray[:-1]
    return index - index[starts][torch.cumsum(starts, 0) - 1]


def weights_reference(depth: Tensor, ray: Tensor, before: Tensor | None = None, stop: float = 0.0) -> Tensor:
    """The definition, for any float type and device."""
    total = torch.cumsum(depth.double(), 0)
    exclusive = total - depth.double()
    first = torch.arange(ray.numel(), device=ray.device) - ranks(ray)
    ahead = (exclusive - exclusive[first]).to(depth.dtype)
    if before is not None:
        ahead = ahead + before
    weight = torch.exp(-ahead) * -torch.expm1(-depth)
    return weight if stop <= 0 else torch.where(ahead > -math.log(stop), 0.0, weight)


def accumulate_reference(weight: Tensor, value: Tensor | None, ray: Tensor, rays: int) -> Tensor:
    """The definition, for any float type and device."""
    if value is None:
        return weight.new_zeros(rays).index_add(0, ray, weight)
    return weight.new_zeros(rays, value.shape[1]).index_add(0, ray, weight[:, None] * value)


class _Weights(torch.autograd.Function):
    @staticmethod
    def forward(ctx, depth, ray, before, stop):  # type: ignore[no-untyped-def]
        depth, ray = depth.contiguous(), ray.contiguous()
        before = None if before is None else before.contiguous()
        weight, count = torch.empty_like(depth), len(depth)
        _run("composite_opacity", count, (depth, weight), each=True)
        _run("composite_weights", count, (ray, count, before, float(stop), weight))
        ctx.save_for_backward(depth, ray, before, weight)
        ctx.stop = stop
        return weight

    @staticmethod
    def backward(ctx, grad):  # type: ignore[no-untyped-def]
        depth, ray, before, weight = ctx.saved_tensors
        grad, result, count = grad.contiguous(), torch.empty_like(depth), len(depth)
        arguments = ray, count, depth, before, weight, grad, float(ctx.stop), result
        _run("composite_weights_backward", count, arguments)
        return result, None, -grad * weight if ctx.needs_input_grad[2] else None, None


class _Sums(torch.autograd.Function):
    @staticmethod
    def forward(ctx, weight, value, ray, rays):  # type: ignore[no-untyped-def]
        weight, ray = weight.contiguous(), ray.contiguous()
        value = None if value is None else value.contiguous()
        channels, count = 1 if value is None else value.shape[1], len(ray)
        out = weight.new_zeros((rays,) if value is None else (rays, channels))
        _run("composite_sums", count, (ray, count, weight, value, channels, rays, out))
        ctx.save_for_backward(weight, value, ray)
        return out

    @staticmethod
    def backward(ctx, grad):  # type: ignore[no-untyped-def]
        weight, value, ray = ctx.saved_tensors
        grad = grad.contiguous()
        channels = 1 if value is None else value.shape[1]
        to_weight = torch.zeros_like(weight) if ctx.needs_input_grad[0] else None
        to_value = torch.zeros_like(value) if ctx.needs_input_grad[1] else None
        arguments = ray, weight, value, grad, channels, len(grad), to_weight, to_value
        _run("composite_sums_backward", len(ray), arguments, each=True)
        return to_weight, to_value, None, None


def _run(name: str, count: int, arguments: tuple[object, ...], each: bool = False) -> None:
    """The kernel of this name, over samples. each: the CPU's kernel works sample by sample and is told no count."""
    tensor = next(argument for argument in arguments if isinstance(argument, Tensor))
    if tensor.is_cuda:
        from .device import launch

        if name == "composite_opacity":
            arguments = (*arguments, count)
        elif each:
            arguments = (arguments[0], count, *arguments[1:])
        launch("composite", name, (-(-count // _BLOCK), 1, 1), (_BLOCK, 1, 1), *arguments)
        return
    parallel(getattr(kernels(), name), [plain(argument) for argument in arguments], count)


def _check_ray(ray: Tensor, rays: int) -> None:
    if ray.numel() and not (int(ray[0]) >= 0 and int(ray[-1]) < rays):
        raise ValueError(f"ray must rise from 0 to at most {rays - 1}, got {int(ray[0])} to {int(ray[-1])}")
