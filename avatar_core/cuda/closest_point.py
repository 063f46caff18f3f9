"""The closest point of a triangle mesh: a native tree, or an exact search with PyTorch and SciPy without a compiler."""

from __future__ import annotations

import ctypes
from copy import copy
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from .arguments import pointer
from .loader import choose, kernels, library
from .threads import parallel, thread_count

if TYPE_CHECKING:
    from scipy.spatial import cKDTree

_CANDIDATES = (8, 32, 128, 512, 2048)  # triangles tried per point by the reference, until the answer is proved
_CUTS = 4  # times that a large triangle is cut into four
_CHUNK = 16384
_BLOCK = 128  # CUDA threads
_FAR_AWAY = 1e30  # square metres, as in closest_point.h


class TriangleBVH:
    """A mesh that answers closest-point queries, and rays (ray_cast.py); its tree is built on the CPU, and copied to a
    GPU when points there ask.

    vertices: [V, 3] float32 finite; faces: [F, 3] integers, F > 0. Raises ValueError. Degenerate triangles count as the
    segment or point that they are.
    """

    def __init__(self, vertices: Tensor, faces: Tensor) -> None:
        if vertices.dim() != 2 or vertices.shape[1] != 3 or vertices.dtype != torch.float32:
            raise ValueError(f"vertices must be [V, 3] float32, got {tuple(vertices.shape)} {vertices.dtype}")
        if faces.dim() != 2 or faces.shape[1] != 3 or len(faces) == 0 or faces.is_floating_point():
            raise ValueError(f"faces must be [F, 3] integers with F > 0, got {tuple(faces.shape)} {faces.dtype}")
        if vertices.device.type != "cpu" or faces.device.type != "cpu":
            raise ValueError("the closest point is computed on the CPU; move vertices and faces there")
        _check_finite(vertices)
        if int(faces.min()) < 0 or int(faces.max()) >= len(vertices):
            raise ValueError(f"faces point outside of the {len(vertices)} vertices")
        self.vertices, self.faces = vertices.contiguous(), faces.contiguous()
        self._native = library()
        self._copies: dict[torch.device, tuple[Tensor, Tensor]] = {}
        if self._native is not None:
            self._build(self._native)

    def closest(self, points: Tensor, reach: float = torch.inf) -> tuple[Tensor, Tensor, Tensor]:
        """For points [N, 3] float32: squared distance [N] (m^2), face [N] int64, barycentrics [N, 3] of the closest
        point. A point that is not a number, or not nearer than `reach` metres to the mesh, gets face 0 and an infinite
        distance; a small reach is faster, and so are points in an order in which neighbours follow each other.

        Distances and barycentrics are differentiable with respect to the points and the mesh's vertices, where those
        require gradients. Raises ValueError."""
        if points.dim() != 2 or points.shape[1] != 3 or points.dtype != torch.float32:
            raise ValueError(f"points must be [N, 3] float32, got {tuple(points.shape)} {points.dtype}")
        search = self._search if self.answers(points) else self._reference
        distance2, face, bary = search(points.detach().contiguous(), reach)
        if not (torch.is_grad_enabled() and (points.requires_grad or self.vertices.requires_grad)):
            return distance2, face, bary
        lost = torch.isinf(distance2)
        corners = self.vertices[self.faces].to(points.device)[face]
        distance2, _, bary = closest_of(points.masked_fill(lost[:, None], 0)[:, None], corners[:, None])
        return distance2.masked_fill(lost, torch.inf), face, bary

    def refit(self, vertices: Tensor) -> None:
        """Moves the mesh to other vertices [V, 3] of the same faces: much faster than a new tree, which answers faster
        when the shape is far from the one it was built for. Raises ValueError."""
        if vertices.shape != self.vertices.shape or vertices.dtype != torch.float32 or vertices.device.type != "cpu":
            raise ValueError(
                f"vertices must be {tuple(self.vertices.shape)} float32 on the CPU, got {tuple(vertices.shape)} "
                f"{vertices.dtype} on {vertices.device}"
            )
        _check_finite(vertices)
        self.vertices = vertices.contiguous()
        self.__dict__.pop("_pieces", None)
        self._copies.clear()
        if self._native is not None:
            count = ctypes.c_longlong(self._node_count)
            trees = pointer(self._nodes), pointer(self._leaves)
            self._native.closest_refit(pointer(self.vertices), pointer(self._faces32), count, *trees)

    def moved(self, vertices: Tensor) -> TriangleBVH:
        """A mesh of other vertices, with a copy of this tree; as `refit`."""
        other = copy(self)
        other._copies = {}
        if self._native is not None:
            other._nodes, other._leaves = self._nodes.clone(), self._leaves.clone()
        other.refit(vertices)
        return other

    def answers(self, points: Tensor) -> bool:
        """Whether there are a tree, and kernels where the points are; else queries run their references."""
        return self._native is not None and choose(points) != "reference"

    def query(self, source: str, kernel: str, arguments: tuple[Tensor | float, ...], count: int) -> None:
        """Runs a kernel of `source`.cpp or .cu with the tree before its arguments, of which the first is a tensor; one
        of `count` queries a thread."""
        device = next(value.device for value in arguments if isinstance(value, Tensor))
        if device.type == "cpu":
            values = [pointer(v) if isinstance(v, Tensor) else ctypes.c_float(v) for v in arguments]
            trees = pointer(self._nodes), pointer(self._leaves)
            parallel(getattr(kernels(), kernel), (*trees, *values), count, least=512)
            return
        from .device import launch

        if device not in self._copies:
            self._copies[device] = self._nodes.to(device), self._leaves.to(device)
        launch(source, kernel, (-(-count // _BLOCK), 1, 1), (_BLOCK, 1, 1), *self._copies[device], *arguments, count)

    def _build(self, native: ctypes.CDLL) -> None:
        count = len(self.faces)
        for name in ("closest_node_bytes", "closest_leaf_bytes", "closest_primitive_bytes", "closest_build"):
            getattr(native, name).restype = ctypes.c_longlong
        self._nodes = torch.empty(count * native.closest_node_bytes(), dtype=torch.uint8, device="cpu")
        self._leaves = torch.empty(count * native.closest_leaf_bytes(), dtype=torch.uint8, device="cpu")
        primitives = torch.empty(count * native.closest_primitive_bytes(), dtype=torch.uint8, device="cpu")
        self._faces32 = self.faces.to(torch.int32)
        built = native.closest_build(
            pointer(self.vertices),
            pointer(self._faces32),
            ctypes.c_longlong(count),
            pointer(primitives),
            pointer(self._nodes),
            pointer(self._leaves),
        )
        self._node_count, leaves = built & 0xFFFFFFFF, built >> 32
        self._nodes = self._nodes[: self._node_count * native.closest_node_bytes()].clone()
        self._leaves = self._leaves[: leaves * native.closest_leaf_bytes()].clone()

    def _search(self, points: Tensor, reach: float) -> tuple[Tensor, Tensor, Tensor]:
        """`closest` by the kernel."""
        count, reach2 = len(points), min(reach * reach, _FAR_AWAY)
        distance2, bary = points.new_empty(count), points.new_empty(count, 3)
        face = torch.empty(count, dtype=torch.int64, device=points.device)
        self.query("closest_point", "closest_query", (points, reach2, distance2, face, bary), count)
        return distance2, face, bary

    @cached_property
    def _pieces(self) -> tuple[cKDTree, Tensor, float]:
        """For the reference: a tree of the centres of triangles of even size, large ones cut up; the face of each
        piece; and the largest distance from a piece's centre to its corners."""
        from scipy.spatial import cKDTree

        corners, face = self.vertices.detach()[self.faces], torch.arange(len(self.faces), device=self.faces.device)
        limit = _radii(corners).median()
        for _ in range(_CUTS):
            large = _radii(corners) > limit
            corners = torch.cat([corners[~large], _quarters(corners[large])])
            face = torch.cat([face[~large], face[large].repeat_interleave(4)])
        return cKDTree(corners.mean(1).numpy()), face, float(_radii(corners).max())

    def _reference(self, points: Tensor, reach: float) -> tuple[Tensor, Tensor, Tensor]:
        """`closest` on the CPU without a kernel. Candidates are the triangles with the nearest pieces. Their best is
        proved when it is not farther than the farthest piece's centre minus the largest radius; the rest is asked again
        with more candidates."""
        tree, faces, radius = self._pieces
        device, points = points.device, points.cpu()
        corners = self.vertices.detach()[self.faces]
        distance2 = points.new_full((len(points),), torch.inf)
        face = points.new_full((len(points),), -1, dtype=torch.int64)
        bary = points.new_zeros(len(points), 3)
        todo = torch.nonzero(torch.isfinite(points).all(1)).squeeze(1)
        for count in (*_CANDIDATES, len(faces)):
            count = min(count, len(faces))
            open_parts = []
            for part in todo.split(max(1, _CHUNK * _CANDIDATES[0] // count)):
                far, near = tree.query(points[part].numpy(), count, workers=thread_count())
                near = faces[torch.as_tensor(near).view(len(part), count)]
                found2, which, weights = closest_of(points[part, None], corners[near])
                face[part] = near.gather(1, which[:, None]).squeeze(1)
                distance2[part], bary[part] = found2, weights
                bound = torch.as_tensor(far, dtype=torch.float32).view(len(part), count)[:, -1] - radius
                open_parts.append(part[found2.sqrt() > bound])
            todo = torch.cat(open_parts) if open_parts else todo
            if todo.numel() == 0 or count == len(faces):
                break
        lost = (face < 0) | (distance2 >= reach * reach)
        bary[lost] = bary.new_tensor([1.0, 0.0, 0.0])
        distance2.masked_fill_(lost, torch.inf), face.masked_fill_(lost, 0)
        return distance2.to(device), face.to(device), bary.to(device)


def _check_finite(vertices: Tensor) -> None:
    if not np.isfinite(vertices.detach().numpy()).all():  # NumPy: no threads to wait for
        raise ValueError("vertices must be finite")


def _radii(corners: Tensor) -> Tensor:
    """From the centre to the farthest corner: [F, 3, 3] to [F]."""
    return (corners - corners.mean(1, keepdim=True)).norm(dim=2).amax(1)


def _quarters(corners: Tensor) -> Tensor:
    """Each triangle cut at the middles of its edges: [F, 3, 3] to [4 F, 3, 3], four in a row."""
    a, b, c = corners.unbind(1)
    ab, bc, ca = (a + b) / 2, (b + c) / 2, (c + a) / 2
    parts = [(a, ab, ca), (ab, b, bc), (ca, bc, c), (ab, bc, ca)]
    return torch.stack([torch.stack(part, 1) for part in parts], 1).reshape(-1, 3, 3)


def closest_of(points: Tensor, corners: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The closest of K triangles to each point, any float type: the definition.

    points: [N, 1, 3]; corners: [N or 1, K, 3, 3]. Returns squared distance [N], index [N] into K, barycentrics [N, 3].
    """
    a = corners[..., 0, :]
    e1, e2, p = corners[..., 1, :] - a, corners[..., 2, :] - a, points - a
    ee, ef, ff = (e1 * e1).sum(-1), (e1 * e2).sum(-1), (e2 * e2).sum(-1)
    ep, fp = (e1 * p).sum(-1), (e2 * p).sum(-1)
    inverse = 1 / (ee * ff - ef * ef).clamp(min=1e-30)
    s, t = (ff * ep - ef * fp) * inverse, (ee * fp - ef * ep) * inverse
    zero = torch.zeros_like(s)
    u1 = (ep / ee.clamp(min=1e-30)).clamp(0, 1)
    v2 = (fp / ff.clamp(min=1e-30)).clamp(0, 1)
    u3 = ((ff - ef + ep - fp) / (ee - 2 * ef + ff).clamp(min=1e-30)).clamp(0, 1)
    inside = (s >= 0) & (t >= 0) & (s + t <= 1)
    us, vs = torch.stack([s, u1, zero, u3]), torch.stack([t, zero, v2, 1 - u3])
    offset = p - us[..., None] * e1 - vs[..., None] * e2  # [4, N, K, 3]
    distance2 = (offset * offset).sum(-1)
    distance2[0].masked_fill_(~inside, torch.inf)
    best, kind = distance2.min(0)  # [N, K]
    result, which = best.min(1)
    kind = kind.gather(1, which[:, None])
    u = us.gather(0, kind.expand(-1, us.shape[2])[None])[0].gather(1, which[:, None]).squeeze(1)
    v = vs.gather(0, kind.expand(-1, vs.shape[2])[None])[0].gather(1, which[:, None]).squeeze(1)
    return result, which, torch.stack([1 - u - v, u, v], 1)
