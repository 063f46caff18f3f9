"""What the points around a sample say of it (NPVA, section 3.3): means of their features and offsets, weighted by
inverse distance, and the Fourier encoding of both. Native on the CPU when no gradient is needed, else PyTorch."""

from __future__ import annotations

import ctypes

import torch
from torch import Tensor

from .arguments import pointer
from .loader import choose, kernels
from .threads import parallel

_MOST = 128  # channels, as in point_mix.cpp
_NEAREST, _LEAST = 1e-6, 1e-8  # distance and sum of weights that are divided by


def point_mix(
    places: Tensor, indices: Tensor, points: Tensor, features: Tensor, rotation: Tensor, octaves: tuple[int, int]
) -> Tensor:
    """[N, F (1 + 2 a) + 12 b] of N samples: mean features, their a octaves, and b octaves of the mean offset, in the
    points' axes and, by the rotation, in others; differentiable with respect to points and features.

    places: [N, 3]. indices: [N, K] int64 of the points around each, -1 for none. points: [P, 3]. features: [P, F].
    rotation: [3, 3]. octaves: a and b. All floats of one type. Raises ValueError.
    """
    backend = choose(places, indices, points, features, rotation)
    shapes = [tuple(tensor.shape) for tensor in (places, indices, points, features, rotation)]
    count, channels = len(places), features.shape[-1]
    fits = [(count, 3), (count, shapes[1][-1]), (len(points), 3), (len(points), channels), (3, 3)]
    if shapes != fits or indices.dtype != torch.int64 or min(octaves) < 1 or max(octaves) > 16:
        raise ValueError(f"samples, indices, points, features and rotation must fit one another, got {shapes}")
    if len({tensor.dtype for tensor in (places, points, features, rotation)}) != 1:
        raise ValueError("samples, points, features and rotation must have one float type")
    graded = torch.is_grad_enabled() and (points.requires_grad or features.requires_grad)
    if backend != "native" or graded or places.dtype != torch.float32 or channels > _MOST:
        return point_mix_reference(places, indices, points, features, rotation, octaves)
    if indices.numel() and int(indices.max()) >= len(points):
        raise ValueError(f"an index is {int(indices.max())} of {len(points)} points")
    out = places.new_empty(count, channels * (1 + 2 * octaves[0]) + 12 * octaves[1])
    tensors = [tensor.contiguous() for tensor in (places, indices, points, features, rotation)]
    first, second, third, fourth, fifth = map(pointer, tensors)
    longs = ctypes.c_longlong(indices.shape[1]), ctypes.c_longlong(channels)
    numbers = map(ctypes.c_int, octaves)
    arguments = first, second, longs[0], third, fourth, longs[1], fifth, *numbers, pointer(out)
    parallel(kernels().point_mix, arguments, count, least=256)
    return out


def point_mix_reference(
    places: Tensor, indices: Tensor, points: Tensor, features: Tensor, rotation: Tensor, octaves: tuple[int, int]
) -> Tensor:
    """The definition, for any float type and device."""
    chosen = indices.clamp(min=0)
    offsets = points[chosen] - places[:, None]
    weight = inverse_distance(offsets, indices)
    feature, offset = (weight * features[chosen]).sum(1), (weight * offsets).sum(1)
    both = torch.cat([offset, offset @ rotation.T], 1)
    return torch.cat([feature, fourier(feature, octaves[0]), fourier(both, octaves[1])], 1)


def inverse_distance(offsets: Tensor, indices: Tensor) -> Tensor:
    """Weights [N, K, 1] that add up to one, of points at offsets [N, K, 3]; indices: [N, K], -1 for none."""
    weight = (indices >= 0) / offsets.norm(dim=-1).clamp(min=_NEAREST)
    return (weight / weight.sum(-1, keepdim=True).clamp(min=_LEAST))[..., None]


def fourier(x: Tensor, octaves: int) -> Tensor:
    """[..., C * 2 * octaves]: of each value sin x, cos x, sin 2x, cos 2x, sin 4x, ..."""
    angles = x[..., None] * 2.0 ** torch.arange(octaves, device=x.device, dtype=x.dtype)
    return torch.stack([angles.sin(), angles.cos()], -1).flatten(-3)
