"""Which canonical points does forward skinning take to a posed point? Root finding on a voxel grid (SNARF, Chen et al.
2021; voxels as in Fast-SNARF, 2023): the reference in PyTorch, and the native kernel around it.

    d(x) = M(x) x,   M(x) = sum_j w_j(x) B_j on a grid, mixed trilinearly;   wanted: all x with d(x) = x_d

Broyden's good method from x = S_i x_d for several starts S_i (inverse bone transforms), with J = M(x)_{3x3}^-1 and
g = d(x) - x_d:

    dx = -J g,  x += dx,  dg = g(x) - g,  J += (dx - J dg) (dx^T J) / (dx^T J dg +- 1e-6)

until |g| < converged (valid) or not < diverged, or out of steps. A valid root then moves by the next dx too: that needs
no further lookup, and brings it nearer by about a digit.
"""

from __future__ import annotations

import ctypes
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from .arguments import pointer
from .loader import choose, kernels
from .threads import parallel

_BLOCK = 128  # CUDA threads


@dataclass(frozen=True)
class SkinningVolume:
    """Blended transforms on a grid. transforms: [D, H, W, 4, 4], canonical to posed, last rows not read; sides >= 2.
    low, high: the canonical places (x, y, z), metres, of the first and the last grid point; x is outside clamped."""

    transforms: Tensor
    low: tuple[float, float, float]
    high: tuple[float, float, float]

    def __post_init__(self) -> None:
        shape = tuple(self.transforms.shape)
        if len(shape) != 5 or shape[3:] != (4, 4) or min(shape[:3]) < 2 or not self.transforms.is_floating_point():
            raise ValueError(f"transforms must be [D, H, W, 4, 4] floats with sides of at least 2, got {shape}")
        if not all(low < high for low, high in zip(self.low, self.high)):
            raise ValueError(f"low must be below high, got {self.low} and {self.high}")

    @classmethod
    def blend(
        cls, weights: Tensor, bones: Tensor, low: tuple[float, float, float], high: tuple[float, float, float]
    ) -> SkinningVolume:
        """weights: [J, D, H, W]; bones: [J, 4, 4]."""
        if weights.dim() != 4 or tuple(bones.shape) != (len(weights), 4, 4):
            raise ValueError(
                f"weights must be [J, D, H, W] and bones [J, 4, 4], got {tuple(weights.shape)} and {tuple(bones.shape)}"
            )
        blended = weights.flatten(1).mT @ bones.flatten(1)
        return cls(blended.view(*weights.shape[1:], 4, 4), low, high)

    @cached_property
    def per_metre(self) -> tuple[float, ...]:
        sides = reversed(self.transforms.shape[:3])
        return tuple((side - 1) / (high - low) for side, low, high in zip(sides, self.low, self.high))

    def lookup(self, points: Tensor) -> Tensor:
        """Transforms [N, 4, 4] at canonical points [N, 3]; differentiable."""
        count = torch.tensor(tuple(reversed(self.transforms.shape[:3])), device=points.device)
        at = (points - points.new_tensor(self.low)) * points.new_tensor(self.per_metre)
        at = torch.minimum(at.nan_to_num(0.0).clamp(min=0), (count - 1).to(at))
        cell = torch.minimum(at.detach().long(), count - 2)
        f = at - cell
        rows = self.transforms.flatten(0, 2).flatten(1)
        result = points.new_zeros(len(points), 16)
        for corner in range(8):
            step = torch.tensor([corner & 1, corner >> 1 & 1, corner >> 2], device=points.device)
            x, y, z = (cell + step).unbind(1)
            weight = torch.where(step.bool(), f, 1 - f).prod(1, keepdim=True)
            result = result + weight * rows[(z * count[1] + y) * count[0] + x]
        return result.view(-1, 4, 4)

    def forward(self, points: Tensor) -> Tensor:
        """d(x): canonical [N, 3] to posed [N, 3]."""
        return _apply(self.lookup(points), points)


@dataclass(frozen=True)
class Roots:
    """points: [N, I, 3] canonical, metres, meaningless where not valid. valid: [N, I] bool. distinct: [N, I] bool,
    valid and not a root that an earlier start of the same point has found."""

    points: Tensor
    valid: Tensor
    distinct: Tensor


def find_roots(
    points: Tensor,
    volume: SkinningVolume,
    starts: Tensor,
    steps: int = 10,
    converged: float = 1e-5,
    diverged: float = 1.0,
    apart: float = 1e-4,
) -> Roots:
    """points: [N, 3] posed. starts: [I, 4, 4], posed to canonical. converged, diverged: residuals in metres; apart:
    roots nearer to each other than this, metres, are one. Raises ValueError. Native for float32, else the
    reference. Without gradients: see `with_gradients`."""
    backend = _check(points, volume, starts)
    if backend == "reference" or points.dtype != torch.float32:
        return find_roots_reference(points, volume, starts, steps, converged, diverged, apart)
    points, grid, starts = (tensor.detach().contiguous() for tensor in (points, volume.transforms, starts))
    roots = points.new_empty(len(points), len(starts), 3)
    state = torch.empty(roots.shape[:2], dtype=torch.uint8, device=points.device)
    native = _Volume(
        (ctypes.c_int * 3)(*reversed(grid.shape[:3])),
        (ctypes.c_float * 3)(*volume.low),
        (ctypes.c_float * 3)(*volume.per_metre),
    )
    limits = (ctypes.c_float(value) for value in (converged, diverged, apart))
    numbers = ctypes.c_int(len(starts)), ctypes.c_int(steps), *limits
    if backend == "cuda":
        from .device import launch

        size = (-(-len(points) // _BLOCK), 1, 1)
        inputs = points, grid, native, starts, *numbers, roots, state, len(points)
        launch("broyden", "broyden_roots", size, (_BLOCK, 1, 1), *inputs)
    else:
        named = pointer(points), pointer(grid), ctypes.byref(native), pointer(starts), *numbers
        parallel(kernels().broyden_roots, (*named, pointer(roots), pointer(state)), len(points), least=64)
    return Roots(roots, state > 0, state > 1)


def find_roots_reference(
    points: Tensor,
    volume: SkinningVolume,
    starts: Tensor,
    steps: int = 10,
    converged: float = 1e-5,
    diverged: float = 1.0,
    apart: float = 1e-4,
) -> Roots:
    """The definition, for any float type and device."""
    _check(points, volume, starts)
    with torch.no_grad():
        shape = len(points), len(starts)
        x = (torch.einsum("irc,nc->nir", starts[:, :3, :3], points) + starts[:, :3, 3]).reshape(-1, 3)
        target = points.repeat_interleave(len(starts), 0)
        matrix = volume.lookup(x)
        inverse = _inverse(matrix[:, :3, :3])
        g = _apply(matrix, x) - target
        valid = torch.zeros(len(x), dtype=torch.bool, device=x.device)
        active = torch.arange(len(x), device=x.device)
        dx = -(inverse @ g[..., None])[..., 0]
        x += dx
        for _ in range(steps):
            after = volume.forward(x[active]) - target[active]
            dg, g = after - g, after
            error = g.norm(dim=1)
            root = error < converged
            valid[active] = root
            go_on = root | (error < diverged)
            active, root, dx, dg, g, inverse = (part[go_on] for part in (active, root, dx, dg, g, inverse))
            row = (dx[:, None] @ inverse)[:, 0]
            below = (row * dg).sum(1)
            below = below + torch.where(below >= 0, 1e-6, -1e-6).to(below)
            change = (dx - (inverse @ dg[..., None])[..., 0]) / below[:, None]
            inverse = inverse + change[..., None] * row[:, None]
            dx = -(inverse @ g[..., None])[..., 0]
            x[active] += dx
            active, dx, g, inverse = (part[~root] for part in (active, dx, g, inverse))
        x, valid = x.view(*shape, 3), valid.view(shape)
        distinct = valid.clone()
        for start in range(1, len(starts)):
            near = (x[:, :start] - x[:, start : start + 1]).norm(dim=2) < apart
            distinct[:, start] &= ~(near & distinct[:, :start]).any(1)
        return Roots(x, valid, distinct)


def with_gradients(roots: Tensor, points: Tensor, volume: SkinningVolume) -> Tensor:
    """Roots [N, 3] of posed points [N, 3], with their derivatives by the implicit function theorem:
    dx = J (dx_d - dd(x)), J the inverse of the exact Jacobian of d at x; no gradient where that is singular."""
    with torch.enable_grad():
        at = roots.detach().requires_grad_()
        frozen = SkinningVolume(volume.transforms.detach(), volume.low, volume.high)
        posed = frozen.forward(at)
        rows = [torch.autograd.grad(posed[:, row].sum(), at, retain_graph=True)[0] for row in range(3)]
    inverse = _inverse(torch.stack(rows, 1)).nan_to_num(0.0, 0.0, 0.0)
    difference = points - volume.forward(roots.detach())
    return roots.detach() + (inverse @ (difference - difference.detach())[..., None])[..., 0]


class _Volume(ctypes.Structure):
    _fields_ = (("size", ctypes.c_int * 3), ("low", ctypes.c_float * 3), ("per_metre", ctypes.c_float * 3))


def _apply(matrix: Tensor, points: Tensor) -> Tensor:
    return (matrix[:, :3, :3] @ points[..., None])[..., 0] + matrix[:, :3, 3]


def _inverse(matrix: Tensor) -> Tensor:
    """[N, 3, 3] by cofactors; infinite or NaN where singular."""
    a, b, c = matrix.unbind(2)
    rows = torch.stack([torch.linalg.cross(b, c), torch.linalg.cross(c, a), torch.linalg.cross(a, b)], 1)
    return rows / (a * rows[:, 0]).sum(1)[:, None, None]


def _check(points: Tensor, volume: SkinningVolume, starts: Tensor) -> str:
    """The backend."""
    if points.dim() != 2 or points.shape[1] != 3:
        raise ValueError(f"points must be [N, 3], got {tuple(points.shape)}")
    if starts.dim() != 3 or starts.shape[1:] != (4, 4):
        raise ValueError(f"starts must be [I, 4, 4], got {tuple(starts.shape)}")
    if not points.is_floating_point() or not points.dtype == starts.dtype == volume.transforms.dtype:
        raise ValueError(
            f"points, starts and transforms must have one float type, got {points.dtype}, {starts.dtype} and "
            f"{volume.transforms.dtype}"
        )
    return choose(points, starts, volume.transforms)
