"""The compact form of a body: what an actor file embeds and a capture stores.

Offsets are stored in integer steps of their largest value / 32767 (for a human body below 0.01 mm), only
where they are not zero. Skinning weights keep each vertex's joints in steps of 1 / 65535 and are normalised
again.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from .arrays import BodyFileError

if TYPE_CHECKING:
    from .model import Body

_STEPS = 32767
_MAX_DENSE = 1 << 30  # values of all unpacked arrays together
_FEATURES = 9  # pose features of one joint: its rotation minus identity


def pack_body(body: Body) -> dict[str, np.ndarray]:
    """Plain arrays by name; see `unpack_body` for the inverse."""
    tensors = {
        "vertices": body.vertices,
        "faces": _small(body.faces),
        "parents": body.parents.astype(np.int16),
        "uv": body.uv,
        "face_uv": _small(body.face_uv),
    }
    influences = max(1, int((body.weights > 0).sum(1).max()))
    order = np.argsort(-body.weights, 1, kind="stable")[:, :influences]
    values = np.take_along_axis(body.weights, order, 1).clip(0, 1)
    tensors["weights_joint"] = order.astype(np.uint16)
    tensors["weights_value"] = np.round(values * 65535).astype(np.uint16)
    rows, columns = np.nonzero(body.regressor)
    tensors["regressor_joint"] = rows.astype(np.uint16)
    tensors["regressor_vertex"] = columns.astype(np.int32)
    tensors["regressor_value"] = body.regressor[rows, columns]
    shape_steps, scale = _quantise(np.moveaxis(body.shapedirs, 2, 0))
    tensors["shapedirs"], tensors["shapedirs_scale"] = shape_steps, scale
    steps, scale = _quantise(np.moveaxis(body.expressions, 2, 0))
    unit, vertex = np.nonzero(steps.any(2))
    tensors["expressions_unit"] = unit.astype(np.uint16)
    tensors["expressions_vertex"] = vertex.astype(np.int32)
    tensors["expressions"], tensors["expressions_scale"] = steps[unit, vertex], scale
    if body.posedirs is not None:
        blocks = body.posedirs.reshape(len(body.vertices), 3, -1, _FEATURES).transpose(2, 0, 1, 3)
        steps, scale = _quantise(blocks)  # [J - 1, V, 3, 9]
        joint, vertex = np.nonzero(steps.any((2, 3)))
        tensors["posedirs_joint"] = joint.astype(np.uint16)
        tensors["posedirs_vertex"] = vertex.astype(np.int32)
        tensors["posedirs"], tensors["posedirs_scale"] = steps[joint, vertex], scale
    return {name: np.ascontiguousarray(array) for name, array in tensors.items()}


def unpack_body(
    tensors: dict[str, np.ndarray], joints: int, expressions: int, max_vertices: int, max_betas: int
) -> dict[str, Any]:
    """The numeric fields of a Body. Sizes are checked before anything is allocated; raises BodyFileError."""
    source = _Source(tensors)
    vertices = source.take("vertices", (None, 3), "f")
    v = len(vertices)
    if v > max_vertices:
        raise BodyFileError(f"the embedded body claims {v} vertices, the limit is {max_vertices}")
    betas = len(source.take("shapedirs_scale", (None,), "f"))
    if betas > max_betas:
        raise BodyFileError(f"the embedded body claims {betas} betas, the limit is {max_betas}")
    features = 3 * _FEATURES * joints if "posedirs" in tensors else 0
    if v * (2 * joints + 3 * (betas + expressions) + features) > _MAX_DENSE:
        raise BodyFileError(f"the embedded body is too large: {v} vertices, {joints} joints, {betas} betas")
    index = source.take("weights_joint", (v, None), "u").astype(np.int64)
    value = source.take("weights_value", index.shape, "u").astype(np.float32)
    weights = np.zeros((v, joints), np.float32)
    np.put_along_axis(weights, _inside("weights_joint", index, joints), value, 1)
    total = weights.sum(1, keepdims=True)
    if not (total > 0).all():
        raise BodyFileError("the embedded body has vertices without any skinning weight")

    rows = _inside("regressor_joint", source.take("regressor_joint", (None,), "u"), joints)
    columns = _inside("regressor_vertex", source.take("regressor_vertex", (len(rows),), "i"), v)
    regressor = np.zeros((joints, v), np.float32)
    regressor[rows, columns] = source.take("regressor_value", (len(rows),), "f")

    scale = source.take("shapedirs_scale", (betas,), "f")
    shapedirs = source.take("shapedirs", (len(scale), v, 3), "i") * scale[:, None, None]

    fields: dict[str, Any] = {
        "vertices": vertices,
        "faces": source.take("faces", (None, 3), "iu"),
        "parents": source.take("parents", (joints,), "i"),
        "uv": source.take("uv", (None, 2), "f"),
        "face_uv": source.take("face_uv", (None, 3), "iu"),
        "weights": weights / total,
        "regressor": regressor,
        "shapedirs": np.moveaxis(shapedirs, 0, 2),
        "expressions": np.moveaxis(source.blocks("expressions", "unit", expressions, v, (3,)), 0, 2),
    }
    if "posedirs" in tensors:
        blocks = source.blocks("posedirs", "joint", joints - 1, v, (3, _FEATURES))
        fields["posedirs"] = blocks.transpose(1, 2, 0, 3).reshape(v, 3, -1)
    return fields


class _Source:
    """Takes named tensors out of a dict, checking shape and kind."""

    def __init__(self, tensors: dict[str, np.ndarray]) -> None:
        self._tensors = tensors

    def take(self, name: str, shape: tuple[int | None, ...], kinds: str) -> np.ndarray:
        if name not in self._tensors:
            raise BodyFileError(f"the embedded body lacks its tensor '{name}'")
        array = np.asarray(self._tensors[name])
        fits = array.ndim == len(shape) and all(want in (None, got) for want, got in zip(shape, array.shape))
        if not fits or array.dtype.kind not in kinds:
            expected = " x ".join("any" if side is None else str(side) for side in shape)
            raise BodyFileError(
                f"the embedded body's tensor '{name}' must be {expected}, got {array.shape} of {array.dtype}"
            )
        return array

    def blocks(self, name: str, first: str, count: int, vertices: int, shape: tuple[int, ...]) -> np.ndarray:
        """Sparse blocks at (first index, vertex) as a dense [count, vertices, *shape] float32 array."""
        index = _inside(f"{name}_{first}", self.take(f"{name}_{first}", (None,), "u"), count)
        vertex = _inside(f"{name}_vertex", self.take(f"{name}_vertex", (len(index),), "i"), vertices)
        steps = self.take(name, (len(index), *shape), "i")
        scale = self.take(f"{name}_scale", (count,), "f")
        dense = np.zeros((count, vertices, *shape), np.float32)
        dense[index, vertex] = steps * scale[index].reshape(-1, *([1] * len(shape)))
        return dense


def _quantise(blocks: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """[N, ...] -> int16 steps and [N] metres a step."""
    scale = np.abs(blocks).max(tuple(range(1, blocks.ndim)), initial=0.0) / _STEPS
    safe = np.where(scale > 0, scale, 1).reshape(-1, *([1] * (blocks.ndim - 1)))
    return np.round(blocks / safe).astype(np.int16), scale.astype(np.float32)


def _small(indices: np.ndarray) -> np.ndarray:
    return indices.astype(np.uint16) if indices.size == 0 or indices.max() < 1 << 16 else indices


def _inside(name: str, index: np.ndarray, count: int) -> np.ndarray:
    if index.size and (index.min() < 0 or index.max() >= count):
        raise BodyFileError(f"the embedded body's tensor '{name}' points outside of its {count} entries")
    return index.astype(np.int64)
