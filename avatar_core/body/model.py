"""Body: a rigged mesh with shape and expression offsets, in SMPL's schema.

Nothing here knows how many vertices, joints or coefficients a body has: they come from its file. The same
class holds our free template, a user's SMPL, SMPL-H or SMPL-X, and any other mesh with a skeleton.

    rest(betas, expression) = vertices + shapedirs betas + expressions expression        [V, 3]
    joints(betas)           = regressor rest(betas, 0)                                   [J, 3]
    posed                   = LBS(rest + posedirs vec(R_1 - I, ..., R_{J-1} - I))        see pose_offsets.py
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from .arrays import BodyFileError
from .packing import pack_body, unpack_body

MAX_VERTICES = 1_000_000
MAX_JOINTS = 1024
MAX_COEFFICIENTS = 4096  # betas, or expressions


def _no_offsets() -> np.ndarray:
    return np.zeros((0, 3, 0), np.float32)


@dataclass(frozen=True, eq=False)
class Body:
    """A body at rest: y up, facing +z, metres. Checked when made; raises BodyFileError.

    name: what users call it ("template", "smplx", ...). Texture coordinates have v up; a body without them
    has T = 0 and no rows in `face_uv`. A root's parent is -1, and parents come before their children.
    licence: an SPDX name or "unknown"; only a body with a free licence may go into a file that is handed on.
    """

    name: str
    vertices: np.ndarray  # [V, 3] float32, metres, rest
    faces: np.ndarray  # [F, 3] int32
    uv: np.ndarray  # [T, 2] float32
    face_uv: np.ndarray  # [F, 3] int32, or [0, 3]
    weights: np.ndarray  # [V, J] float32, rows sum to 1
    joint_names: tuple[str, ...]  # [J]
    parents: np.ndarray  # [J] int32
    regressor: np.ndarray  # [J, V] float32, rows sum to 1
    shapedirs: np.ndarray = field(default_factory=_no_offsets)  # [V, 3, B] float32, metres
    posedirs: np.ndarray | None = None  # [V, 3, (J - 1) * 9] float32, metres
    expressions: np.ndarray = field(default_factory=_no_offsets)  # [V, 3, E] float32, metres
    expression_names: tuple[str, ...] = ()  # [E]
    licence: str = "unknown"

    def __post_init__(self) -> None:
        v, j = len(self.vertices), len(self.joint_names)
        if not (0 < v <= MAX_VERTICES and 0 < j <= MAX_JOINTS):
            raise BodyFileError(f"body '{self.name}' cannot have {v} vertices and {j} joints")
        for name in ("shapedirs", "expressions"):
            if getattr(self, name).size == 0:
                object.__setattr__(self, name, np.zeros((v, 3, 0), np.float32))
        for name, dtype, shape in (
            ("vertices", np.float32, (v, 3)),
            ("faces", np.int32, (None, 3)),
            ("weights", np.float32, (v, j)),
            ("parents", np.int32, (j,)),
            ("regressor", np.float32, (j, v)),
            ("uv", np.float32, (None, 2)),
            ("face_uv", np.int32, (len(self.faces) if len(self.uv) else 0, 3)),
            ("shapedirs", np.float32, (v, 3, None)),
            ("posedirs", np.float32, (v, 3, (j - 1) * 9)),
            ("expressions", np.float32, (v, 3, len(self.expression_names))),
        ):
            if getattr(self, name) is not None:
                object.__setattr__(self, name, self._checked(name, dtype, shape))
        self._check_topology()

    def _checked(self, name: str, dtype: type, shape: tuple[int | None, ...]) -> np.ndarray:
        array = np.asarray(getattr(self, name))
        fits = array.ndim == len(shape) and all(want in (None, got) for want, got in zip(shape, array.shape))
        if not fits:
            expected = " x ".join("any" if side is None else str(side) for side in shape)
            raise BodyFileError(f"body '{self.name}': '{name}' must be {expected}, got shape {array.shape}")
        if array.dtype.kind in "fiu":
            with np.errstate(over="ignore"):
                array = np.require(array, dtype, ["C", "W"])  # torch wants writable memory
            if np.isfinite(array).all():
                return array
        raise BodyFileError(f"body '{self.name}': '{name}' holds something else than finite numbers")

    def _check_topology(self) -> None:
        for name, top in (("faces", len(self.vertices)), ("face_uv", len(self.uv))):
            indices = getattr(self, name)
            if indices.size and (indices.min() < 0 or indices.max() >= top):
                raise BodyFileError(f"body '{self.name}': '{name}' points outside of its {top} points")
        if self.parents[0] != -1 or not all(-1 <= p < i for i, p in enumerate(self.parents)):
            raise BodyFileError(f"body '{self.name}': 'parents' must be -1 (root) or an earlier joint")
        if np.abs(self.weights.sum(1) - 1).max() > 1e-2 or self.weights.min() < -1e-3:
            raise BodyFileError(f"body '{self.name}': 'weights' must be positive with rows that sum to 1")
        if self.shapedirs.shape[2] > MAX_COEFFICIENTS or self.expressions.shape[2] > MAX_COEFFICIENTS:
            raise BodyFileError(f"body '{self.name}' has more than {MAX_COEFFICIENTS} betas or expressions")

    @cached_property
    def topology_hash(self) -> str:
        """Hex SHA-256 of faces, vertex count and joint names; bodies with equal ones can exchange data."""
        digest = hashlib.sha256(f"{len(self.vertices)};{';'.join(self.joint_names)};".encode())
        digest.update(np.ascontiguousarray(self.faces, "<i4").tobytes())
        return digest.hexdigest()

    def shaped(self, betas: np.ndarray | None = None, expression: np.ndarray | None = None) -> np.ndarray:
        """Rest vertices with body shape and expression, [V, 3] metres. Coefficients left out are 0."""
        rest = self.vertices.copy()
        for name, values, basis in (
            ("betas", betas, self.shapedirs),
            ("expression", expression, self.expressions),
        ):
            if values is None or len(values) == 0:
                continue
            if len(values) > basis.shape[2]:
                raise BodyFileError(f"body '{self.name}' takes {basis.shape[2]} {name}, got {len(values)}")
            rest += basis[:, :, : len(values)] @ np.asarray(values, np.float32)
        return rest

    def joints(self, betas: np.ndarray | None = None, expression: np.ndarray | None = None) -> np.ndarray:
        """Rest joint centres, [J, 3] metres.

        Blender's bones cannot follow an expression, so nothing in this project passes one; SMPL-X's own code
        does. Summed in double precision: in single the sum depends on the number of threads, and frames with it.
        """
        return (self.regressor.astype(np.float64) @ self.shaped(betas, expression)).astype(np.float32)

    def joint_shapedirs(self) -> np.ndarray:
        """How joints move with betas, [J, 3, B] metres: joints(betas) = joints() + this @ betas."""
        moved = np.einsum("jv,vcb->jcb", self.regressor, self.shapedirs, dtype=np.float64, optimize=True)
        return moved.astype(np.float32)

    def meta(self) -> dict[str, Any]:
        """What goes beside `to_tensors()` into a JSON header."""
        return {
            "name": self.name,
            "licence": self.licence,
            "joint_names": list(self.joint_names),
            "expression_names": list(self.expression_names),
            "topology": self.topology_hash,
        }

    def to_tensors(self) -> dict[str, np.ndarray]:
        """Compact plain arrays (16-bit steps, sparse where sparse) for an actor file or an .npz."""
        return pack_body(self)

    @classmethod
    def from_tensors(cls, tensors: dict[str, np.ndarray], meta: dict[str, Any]) -> Body:
        """The inverse of `to_tensors` and `meta`. Raises BodyFileError when a part is missing or does not
        fit."""
        try:
            name, licence = str(meta["name"]), str(meta.get("licence", "unknown"))
            joints = tuple(str(joint) for joint in meta["joint_names"])
            units = tuple(str(unit) for unit in meta["expression_names"])
            topology = str(meta["topology"])
        except (KeyError, TypeError, AttributeError) as error:
            raise BodyFileError(f"the header of the embedded body is damaged ({error!r})") from error
        if len(joints) > MAX_JOINTS or len(units) > MAX_COEFFICIENTS:
            raise BodyFileError(f"the embedded body claims {len(joints)} joints and {len(units)} expressions")
        arrays = unpack_body(tensors, len(joints), len(units), MAX_VERTICES, MAX_COEFFICIENTS)
        body = cls(name=name, licence=licence, joint_names=joints, expression_names=units, **arrays)
        if body.topology_hash != topology:
            raise BodyFileError(f"the embedded body '{body.name}' is damaged: its topology hash differs")
        return body
