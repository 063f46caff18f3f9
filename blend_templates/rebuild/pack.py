"""The entries of body.npz: quantised to well below what can be seen, 1.8 MB when compressed."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from avatar_core.body.joints import SMPLX_JOINTS, SMPLX_PARENTS

from .assemble import Assembly
from .people import TRAIT_NAMES

_EXPRESSION_STEP = 1e-5  # metres
_INFLUENCES = 6


def pack(body: Assembly, posedirs: np.ndarray) -> dict[str, np.ndarray]:
    """Name -> array, as `avatar_core.body.template` reads them; entries that begin with h_ are the helper
    hulls."""
    expressions = list(body.expressions.values())
    moved = [np.flatnonzero(np.abs(offsets).sum(1) > 0) for offsets in expressions]
    steps = [offsets[index] / _EXPRESSION_STEP for offsets, index in zip(expressions, moved)]
    rows, columns = np.nonzero(body.regressor)
    active = np.flatnonzero(np.abs(posedirs).sum((1, 2)) > 0)
    step = np.abs(posedirs).max() / 127
    entries = {
        "v_template": body.space.template.astype(np.float32),
        "quads": body.quads.astype(np.uint16),
        "part": body.part.astype(np.uint8),
        "uv": np.round(body.uv * 65535).astype(np.uint16),
        "quv": body.quad_uv.astype(np.uint16),
        "expr_ptr": np.cumsum([0, *(len(index) for index in moved)]).astype(np.int32),
        "expr_idx": np.concatenate(moved).astype(np.uint16),
        "expr_q": np.round(np.concatenate(steps)).astype(np.int16),
        "expr_names": np.array(list(body.expressions)),
        "jr_row": rows.astype(np.uint8),
        "jr_col": columns.astype(np.uint16),
        "jr_val": body.regressor[rows, columns].astype(np.float32),
        "pd_rows": active.astype(np.uint16),
        "pd_q": np.round(posedirs[active] / step).astype(np.int8),
        "pd_s": np.float32(step),
        "parents55": np.array(SMPLX_PARENTS, np.int8),
        "joint_names": np.array(SMPLX_JOINTS),
        "named": body.space.named.astype(np.float32),
        "named_cols": np.array([*TRAIT_NAMES, "african", "asian", "const"]),
        "h_template": body.space.helper_template.astype(np.float32),
        "h_quads": body.helper_quads.astype(np.uint16),
        "h_part": body.helper_part.astype(np.uint8),
        "h_uv": np.round(body.helper_uv * 65535).astype(np.uint16),
        "h_quv": body.helper_quad_uv.astype(np.uint16),
    }
    entries["shapedirs_q"], entries["shapedirs_s"] = _steps(body.space.shapedirs)
    entries["h_shapedirs_q"], entries["h_shapedirs_s"] = _steps(body.space.helper_shapedirs)
    entries["w_idx"], entries["w_val"] = _strongest(body.weights)
    entries["h_w_idx"], entries["h_w_val"] = _strongest(body.helper_weights)
    return {name: np.asarray(array) for name, array in entries.items()}


def differences(ours: dict[str, np.ndarray], shipped: dict[str, np.ndarray]) -> Iterator[str]:
    """One line for each kind of data: how far a rebuild is from the shipped file."""
    for name in sorted(set(ours) ^ set(shipped)):
        yield f"{name}: only in one of both"
    for name in ("quads", "quv", "part", "expr_idx", "expr_q", "pd_rows", "h_quads", "h_quv", "h_part", "uv"):
        same = ours[name].shape == shipped[name].shape and (ours[name] == shipped[name]).all()
        yield f"{name}: {'equal' if same else 'different'}"
    for name, read in _READ.items():
        a, b = read(ours), read(shipped)
        if a.shape == b.shape:
            yield f"{name}: largest difference {np.abs(a - b).max():.2e}"
        else:
            yield f"{name}: shapes {a.shape} and {b.shape}"


def _read_weights(entries: dict[str, np.ndarray], prefix: str = "") -> np.ndarray:
    weights = np.zeros((len(entries[f"{prefix}w_idx"]), 55))
    np.put_along_axis(weights, entries[f"{prefix}w_idx"].astype(int), entries[f"{prefix}w_val"] / 65535.0, 1)
    return weights


def _read_joints(entries: dict[str, np.ndarray]) -> np.ndarray:
    joints = np.zeros((55, 3))
    vertices = entries["v_template"][entries["jr_col"]]
    np.add.at(joints, entries["jr_row"], entries["jr_val"][:, None] * vertices)
    return joints


_READ = {
    "v_template (metres)": lambda e: e["v_template"],
    "h_template (metres)": lambda e: e["h_template"],
    "shapedirs (metres)": lambda e: e["shapedirs_q"] * e["shapedirs_s"][:, None, None],
    "h_shapedirs (metres)": lambda e: e["h_shapedirs_q"] * e["h_shapedirs_s"][:, None, None],
    "weights": _read_weights,
    "h_weights": lambda e: _read_weights(e, "h_"),
    "joints (metres)": _read_joints,
    "posedirs (metres)": lambda e: e["pd_q"] * e["pd_s"],
    "named": lambda e: e["named"],
}


def _steps(blocks: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    scale = np.abs(blocks).max((1, 2), keepdims=True) / 32767 + 1e-20
    return np.round(blocks / scale).astype(np.int16), scale.astype(np.float32).ravel()


def _strongest(weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    index = np.argsort(-weights, 1)[:, :_INFLUENCES]
    values = np.take_along_axis(weights, index, 1)
    values = values / values.sum(1, keepdims=True)
    return index.astype(np.uint8), np.round(values * 65535).astype(np.uint16)
