"""Pictures of Gaussian primitives by their integrals along rays, closed form (Rochette, Russell and Bowden 2021).

A limb is a Gaussian with a centre, an axis whose length is the standard deviation along it, and a width, that across.
Its weight W in a pixel is the integral of its density along the ray over 1 + z^4, z being the distance of the peak; the
header has the formula and why it is not the textbook's. With a background weight b a pixel shows
sum W_k f_k / (sum W_k + b): no order, no sorting. Limbs that weigh less than `cull` times b are left out, which is what
makes a picture of a hundred limbs cheap.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import torch
from torch import Tensor

from .arguments import plain
from .loader import choose, kernels
from .threads import parallel

SPREAD = 0.025  # alpha of the paper
HALF = 0.5 * math.sqrt(math.pi * SPREAD)
_SHORTEST = 1e-3  # metres, standard deviation along a limb
_FARTHEST = 80 * SPREAD  # squared distance beyond which a weight is not a normal number in single precision
_TILE = 16  # pixels, as in gaussians.h
_BLOCK = 256  # CUDA threads
_PAIRS = 1 << 20  # pixels and limbs that the reference looks at together


class GaussianImage(NamedTuple):
    """features: [C, H, W]. alpha: [H, W], sum W / (sum W + b). depth: [H, W] planar, metres, mean by W; 0 where empty.
    limb: [H, W] int64, the one of greatest weight; -1 where empty."""

    features: Tensor
    alpha: Tensor
    depth: Tensor
    limb: Tensor


def gaussian_image(
    plane: Tensor,
    centres: Tensor,
    axes: Tensor,
    widths: Tensor,
    features: Tensor,
    background: Tensor,
    cull: float = 1e-5,
) -> GaussianImage:
    """A picture; differentiable with respect to all but `plane`.

    plane: [H, W, 2] rays (x, y, 1) of the pixels, of any lens; x right, y down, z forward. centres, axes: [M, 3]
    metres, in the camera's frame. widths: [M] metres. features: [M, C]. background: [] weight of what lies behind.
    cull: 0 draws every limb everywhere, even behind the camera, as published. Limbs that are not finite are not drawn.
    Raises ValueError.
    """
    tensors = (plane, centres, axes, widths, features, background)
    backend = choose(*tensors)
    _check(tensors)
    unit, length = _shape(axes)
    box, limit = _bounds(centres, unit, length, widths, background, cull)
    if backend == "reference" or plane.dtype != torch.float32:
        return _reference(plane, centres, unit, length, widths, features, background, limit)
    inputs = plane.contiguous(), centres, unit, length, widths, features.contiguous(), background, box, limit
    return GaussianImage(*_Image.apply(*inputs))


def gaussian_image_reference(
    plane: Tensor,
    centres: Tensor,
    axes: Tensor,
    widths: Tensor,
    features: Tensor,
    background: Tensor,
    cull: float = 1e-5,
) -> GaussianImage:
    """The definition, for any float type and device."""
    _check((plane, centres, axes, widths, features, background))
    unit, length = _shape(axes)
    _, limit = _bounds(centres, unit, length, widths, background, cull)
    return _reference(plane, centres, unit, length, widths, features, background, limit)


def published_background(plane: Tensor, centres: Tensor, axes: Tensor, widths: Tensor) -> Tensor:
    """The background's weight as published: []; differentiable. It depends on the farthest peak of any limb on any
    ray, and jumps where the smallest variance crosses a power of ten."""
    unit, length = _shape(axes)
    with torch.no_grad():
        which, limb = _farthest(plane.contiguous(), centres, unit, length, widths)
    ray = plane.reshape(-1, 2)[which][None]
    _, depth, squared, _ = _terms(ray, *(t[limb][None] for t in (centres, unit, length, widths)))
    farthest = 2 * squared[0].sqrt() * depth[0, 0]
    least = torch.minimum(length.amin(), widths.amin()).detach() ** 2
    scale = 10 ** torch.ceil(torch.log10(least.clamp(min=1e-6)))
    return HALF * scale.sqrt() / (1 + farthest**4)


def gaussian_integrals(plane: Tensor, centres: Tensor, axes: Tensor, widths: Tensor) -> tuple[Tensor, Tensor]:
    """Of rays [N, 2] and limbs, whatever the backend: integrals of the densities [N, M], not weighed by nearness, and
    planar depths of their peaks [N, M]; differentiable."""
    weight, depth, squared, _ = _terms(plane, centres, *_shape(axes), widths)
    return weight * (1 + (squared[:, None] * depth * depth) ** 2), depth


def _shape(axes: Tensor) -> tuple[Tensor, Tensor]:
    """Unit axes [M, 3] and lengths [M]; an axis of no length points along x."""
    square = (axes * axes).sum(1)
    point = square < 1e-24
    x = torch.tensor([1.0, 0.0, 0.0], dtype=axes.dtype, device=axes.device)
    norm = torch.where(point, 1.0, square).sqrt()
    return torch.where(point[:, None], x, axes / norm[:, None]), torch.where(point, 0.0, norm).clamp(min=_SHORTEST)


def _terms(
    plane: Tensor, centres: Tensor, unit: Tensor, length: Tensor, widths: Tensor
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Of rays [N, 2] and limbs: weights [N, M], planar depths of the peaks [N, M], squared lengths of the rays [N],
    squared Mahalanobis distances [N, M]."""
    ray = torch.nn.functional.pad(plane, (0, 1), value=1.0)[:, None]  # [N, 1, 3]
    rays, _ = torch.broadcast_tensors(ray, centres[None])
    n = torch.linalg.cross(rays, unit.expand_as(rays))
    c = torch.linalg.cross(rays, centres.expand_as(rays))
    m = torch.linalg.cross(centres, unit)
    a, b, h = (rays * unit).sum(-1), (centres * unit).sum(-1), (c * unit).sum(-1)
    across, along = widths**2, length**2
    squared = (ray * ray).sum(-1)
    q = (n * n).sum(-1) / across + a * a / along
    depth = ((n * m).sum(-1) / across + a * b / along) / q
    covered = across * (c * c).sum(-1) + (along - across) * h * h
    distance = covered / (across**2 * along * q)
    z4 = (squared * depth * depth) ** 2
    weight = HALF * (squared / q).sqrt() * torch.exp(-distance / SPREAD) / (1 + z4)
    return weight, depth, squared.squeeze(1), distance


def _bounds(
    centres: Tensor, unit: Tensor, length: Tensor, widths: Tensor, background: Tensor, cull: float
) -> tuple[Tensor, Tensor]:
    """Where limbs count: boxes [M, 4] of x and y (of the dual conic m m' - T S), greatest squared distances T [M]."""
    with torch.no_grad():
        if cull <= 0:
            infinite = torch.full_like(widths, torch.inf)
            return torch.stack([-infinite, infinite, -infinite, infinite], 1), torch.full_like(widths, _FARTHEST)
        m, u, along, across = (tensor.double() for tensor in (centres, unit, length, widths))
        largest = torch.maximum(along, across)
        nearest = (m.norm(dim=1) - largest).clamp(min=0)
        peak = HALF * largest / (1 + nearest**4)
        limit = SPREAD * torch.log(peak / (cull * background.double()).clamp(min=1e-300))
        front = (m[:, 2] > 0) & (limit > 0)
        limit = torch.where(front, limit, -1.0)
        eye = torch.eye(3, dtype=m.dtype, device=m.device)
        uu = u[:, :, None] * u[:, None]
        covariance = (across**2)[:, None, None] * eye + (along**2 - across**2)[:, None, None] * uu
        conic = m[:, :, None] * m[:, None] - limit[:, None, None] * covariance
        last = conic[:, 2, 2]
        sides = []
        for axis in (0, 1):
            middle = conic[:, axis, 2] / last
            half = (middle**2 - conic[:, axis, axis] / last).clamp(min=0).sqrt()
            half = half + 1e-5 * (1 + middle.abs() + half)  # single precision
            whole = torch.where(last > 0, 0.0, torch.inf)  # it reaches the camera's plane
            sides += [torch.where(last > 0, middle - half, -whole), torch.where(last > 0, middle + half, whole)]
        limit = limit.clamp(max=_FARTHEST)
        box = torch.where(front[:, None], torch.stack(sides, 1), torch.nan)
        return box.to(centres.dtype), limit.to(centres.dtype)


def _reference(
    plane: Tensor,
    centres: Tensor,
    unit: Tensor,
    length: Tensor,
    widths: Tensor,
    features: Tensor,
    background: Tensor,
    limit: Tensor,
) -> GaussianImage:
    height, width, channels, count = *plane.shape[:2], features.shape[1], len(centres)
    parts: list[tuple[Tensor, ...]] = []
    for rays in plane.reshape(-1, 2).split(max(1, _PAIRS // max(1, count))):
        weight, depth, _, distance = _terms(rays, centres, unit, length, widths)
        counts = distance < limit
        weight, depth = torch.where(counts, weight, 0.0), torch.where(counts, depth, 0.0)
        total = weight.sum(1)
        seen = total > 0
        over, safe = torch.where(seen, total + background, 1.0), torch.where(seen, total, 1.0)
        limb = weight.argmax(1) if count else torch.full_like(total, -1, dtype=torch.int64)
        mean = (weight * depth).sum(1) / safe
        finite = torch.where(counts.any(0)[:, None], features, 0.0)
        parts.append((weight @ finite / over[:, None], total / over, mean, torch.where(seen, limb, -1)))
    if not parts:
        parts = [(plane.new_zeros(0, channels), *(plane.new_zeros(0) for _ in range(2)), plane.new_zeros(0).long())]
    image, alpha, depth, limb = (torch.cat(part) for part in zip(*parts, strict=True))
    shape = height, width
    return GaussianImage(image.T.reshape(channels, *shape), alpha.view(shape), depth.view(shape), limb.view(shape))


def _pack(centres: Tensor, unit: Tensor, length: Tensor, widths: Tensor, box: Tensor, limit: Tensor) -> Tensor:
    """The header's Limb, 13 floats each."""
    return torch.cat([centres, unit, length[:, None], widths[:, None], box, limit[:, None]], 1).contiguous()


def _farthest(plane: Tensor, centres: Tensor, unit: Tensor, length: Tensor, widths: Tensor) -> tuple[Tensor, Tensor]:
    """Index of the pixel and the limb whose peak lies farthest along the unit ray."""
    count, pixels = len(centres), plane.shape[0] * plane.shape[1]
    if count == 0 or pixels == 0:
        raise ValueError("the published background needs at least one limb and one pixel")
    if choose(plane, centres) == "reference" or plane.dtype != torch.float32:
        best = []
        for rays in plane.reshape(-1, 2).split(max(1, _PAIRS // count)):
            _, depth, squared, _ = _terms(rays, centres, unit, length, widths)
            best.append((squared.sqrt()[:, None] * depth).max(1))
        farthest, limb = torch.cat([part.values for part in best]), torch.cat([part.indices for part in best])
    else:
        none = torch.zeros(count, 5, dtype=plane.dtype, device=plane.device)
        limbs = _pack(centres, unit, length, widths, none[:, :4], none[:, 4])
        farthest = plane.new_empty(pixels)
        limb = torch.empty(pixels, dtype=torch.int64, device=plane.device)
        if plane.is_cuda:
            _launch("gaussians_farthest", pixels, 1, plane, pixels, limbs, count, farthest, limb)
        else:
            arguments = [plain(argument) for argument in (plane, limbs, count, farthest, limb)]
            parallel(kernels().gaussians_farthest, arguments, pixels)
    which = farthest.argmax()
    return which, limb[which]


class _Image(torch.autograd.Function):
    @staticmethod
    def forward(ctx, plane, centres, unit, length, widths, features, background, box, limit):  # type: ignore[no-untyped-def]
        height, width = plane.shape[:2]
        pixels, channels, count = height * width, features.shape[1], len(centres)
        limbs, weight = _pack(centres, unit, length, widths, box, limit), float(background)
        image = plane.new_zeros(channels, height, width)
        total, depth = plane.new_zeros(height, width), plane.new_zeros(height, width)
        limb = torch.empty(height, width, dtype=torch.int64, device=plane.device)
        results = image, total, depth, limb
        bounds = None
        if plane.is_cuda:
            arguments = plane, pixels, limbs, count, features, channels, weight, *results
            _launch("gaussians_forward", pixels, 1, *arguments)
        else:
            tiles = -(-height // _TILE) * -(-width // _TILE)
            bounds = plane.new_empty(tiles, 4)
            size = [plain(argument) for argument in (plane, bounds, width, height)]
            parallel(kernels().gaussians_bounds, (size[0], *size[2:], size[1]), tiles, least=16)
            rest = [plain(argument) for argument in (limbs, count, features, channels, weight, *results)]
            parallel(kernels().gaussians_forward, (*size, *rest), tiles, least=16)
        ctx.save_for_backward(plane, bounds, limbs, features, background, image, total, depth)
        ctx.mark_non_differentiable(limb)
        return image, torch.where(total > 0, total / (total + background), 0.0), depth, limb

    @staticmethod
    def backward(ctx, *grads):  # type: ignore[no-untyped-def]
        plane, bounds, limbs, features, background, image, total, depth = ctx.saved_tensors
        height, width = plane.shape[:2]
        channels, count, weight = features.shape[1], len(limbs), float(background)
        to_image, to_alpha, to_depth = (grad.contiguous() for grad in grads[:3])
        to_limbs, to_features = limbs.new_zeros(count, 8), torch.zeros_like(features)
        rest = features, channels, weight, image, total, depth, to_image, to_alpha, to_depth, to_limbs, to_features
        if plane.is_cuda:
            pixels = height * width
            _launch("gaussians_backward", pixels, count, plane, pixels, limbs, *rest)
        else:
            arguments = [plain(argument) for argument in (plane, bounds, width, height, limbs, *rest)]
            parallel(kernels().gaussians_backward, arguments, count, least=1)
        to_background = None
        if ctx.needs_input_grad[6]:
            over = torch.where(total > 0, total + background, 1.0)
            to_background = -(((to_image * image).sum(0) + to_alpha * total / over) / over).sum()
        of_shape = to_limbs[:, :3], to_limbs[:, 3:6], to_limbs[:, 6], to_limbs[:, 7]
        return None, *of_shape, to_features, to_background, None, None


def _launch(name: str, pixels: int, rows: int, *arguments: Any) -> None:
    from .device import launch

    launch("gaussians", name, (-(-pixels // _BLOCK), rows, 1), (_BLOCK, 1, 1), *arguments)


def _check(tensors: tuple[Tensor, ...]) -> None:
    plane, centres, axes, widths, features, background = tensors
    count = len(centres)
    wanted = {"centres": (count, 3), "axes": (count, 3), "widths": (count,), "background": ()}
    found = {"centres": centres, "axes": axes, "widths": widths, "background": background}
    for name, shape in wanted.items():
        if tuple(found[name].shape) != shape:
            raise ValueError(f"{name} must be {list(shape)}, got {list(found[name].shape)}")
    if plane.dim() != 3 or plane.shape[2] != 2 or features.dim() != 2 or len(features) != count:
        raise ValueError(
            f"plane must be [H, W, 2] and features [{count}, C], got {list(plane.shape)}, {list(features.shape)}"
        )
    if len({tensor.dtype for tensor in tensors}) != 1 or not plane.is_floating_point():
        raise ValueError(f"plane and limbs must have one float type, got {[tensor.dtype for tensor in tensors]}")
