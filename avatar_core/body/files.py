"""Body files: users' SMPL, SMPL-H, SMPL-X and FLAME (.npz or .pkl), our template's layout, and our own packed
.npz.

Poses are plain axis-angle for every joint: hands are not in SMPL-H's and SMPL-X's PCA space and not relative
to their mean hand (smplx calls that use_pca=False, flat_hand_mean=True).
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np

from .arrays import BodyFileError, npz_names, read_npz
from .joints import FAMILIES
from .model import MAX_JOINTS, MAX_VERTICES, Body
from .pickles import PickledArrays

SHAPE_BLOCK = 300  # of SMPL-X's and FLAME's shapedirs; expressions follow
_SHORT_BLOCK = 10  # in their small releases, which have ten of each
_REQUIRED = ("v_template", "f", "weights", "J_regressor", "kintree_table", "shapedirs")
_OPTIONAL = ("posedirs", "vt", "ft")
_WITH_EXPRESSIONS = ("smplx", "flame")


def read_body(path: Path, betas: int = 10, expressions: int = 10) -> Body:
    """The body in a file, with at most this many shape and expression coefficients. Raises BodyFileError."""
    if not path.is_file():
        raise BodyFileError(f"there is no body file at {path}")
    if path.suffix == ".pkl":
        pickled = PickledArrays(path)
        return _smpl_family(path, pickled.names, pickled.array, betas, expressions)
    if path.suffix != ".npz":
        raise BodyFileError(f"{path} is neither .npz nor .pkl; body files are one of these")
    names = npz_names(path)
    if "meta" in names:
        return _packed(path)
    if "w_idx" in names:
        from .template import read_template

        return read_template(path)
    arrays = read_npz(path, wanted={*_REQUIRED, *_OPTIONAL})
    return _smpl_family(path, names, arrays.__getitem__, betas, expressions)


def write_body(path: Path, body: Body) -> None:
    """Writes the packed form of any body, which `read_body` reads back."""
    header = np.frombuffer(json.dumps(body.meta()).encode(), np.uint8)
    with path.open("wb") as stream:
        np.savez_compressed(stream, meta=header, **body.to_tensors())


def _packed(path: Path) -> Body:
    arrays = read_npz(path)
    try:
        meta = json.loads(arrays.pop("meta").tobytes())
    except ValueError as error:
        raise BodyFileError(f"{path}: its entry 'meta' is no JSON text ({error})") from error
    try:
        return Body.from_tensors(arrays, meta)
    except BodyFileError as error:
        raise BodyFileError(f"{path}: {error}") from error


def _smpl_family(path: Path, names: set[str], array: Callable[[str], np.ndarray], betas: int, expressions: int) -> Body:
    missing = [name for name in _REQUIRED if name not in names]
    if missing:
        raise BodyFileError(f"{path} is no body of the SMPL family: its entry '{missing[0]}' is missing")

    def take(name: str, *shape: int | None) -> np.ndarray:
        value = array(name)
        fits = value.ndim == len(shape) and all(want in (None, got) for want, got in zip(shape, value.shape))
        if not fits or value.dtype.kind not in "fiu":
            expected = " x ".join("any" if side is None else str(side) for side in shape)
            got = f"shape {value.shape} of {value.dtype}"
            raise BodyFileError(f"{path}: entry '{name}' must be numbers of {expected}, got {got}")
        return value

    vertices, tree = take("v_template", None, 3), take("kintree_table", 2, None)
    v, j = len(vertices), tree.shape[1]
    if not (0 < v <= MAX_VERTICES and 0 < j <= MAX_JOINTS):
        raise BodyFileError(f"{path} claims {v} vertices and {j} joints, which no body has")
    family, joint_names = FAMILIES.get(j, ("custom", tuple(f"joint_{i:02d}" for i in range(j))))
    basis = take("shapedirs", v, 3, None)
    split = basis.shape[2]
    if family in _WITH_EXPRESSIONS:
        split = SHAPE_BLOCK if basis.shape[2] > SHAPE_BLOCK else min(_SHORT_BLOCK, basis.shape[2])
    units = basis[:, :, split : split + expressions]
    with_uv = {"vt", "ft"} <= names
    faces = take("f", None, 3)
    try:
        return Body(
            name=family,
            vertices=vertices,
            faces=faces,
            uv=take("vt", None, 2) if with_uv else np.zeros((0, 2)),
            face_uv=take("ft", len(faces), 3) if with_uv else np.zeros((0, 3), np.int32),
            weights=take("weights", v, j),
            joint_names=joint_names,
            parents=_parents(path, tree),
            regressor=take("J_regressor", j, v),
            shapedirs=basis[:, :, : min(split, betas)],
            posedirs=take("posedirs", v, 3, (j - 1) * 9) if "posedirs" in names else None,
            expressions=units,
            expression_names=tuple(f"expression_{i:02d}" for i in range(units.shape[2])),
        )
    except BodyFileError as error:
        raise BodyFileError(str(error) if str(path) in str(error) else f"{path}: {error}") from error


def _parents(path: Path, tree: np.ndarray) -> np.ndarray:
    """Row 0 of a kintree_table; files write the root's parent as -1, as 2^32 - 1 or as the root itself."""
    parents, ids = tree.astype(np.int64)
    if (ids != np.arange(len(ids))).any():
        raise BodyFileError(f"{path}: row 1 of 'kintree_table' must count its joints from 0")
    parents[0] = -1
    if ((parents[1:] < 0) | (parents[1:] >= ids[1:])).any():
        raise BodyFileError(f"{path}: row 0 of 'kintree_table' must name an earlier joint for each joint")
    return parents
