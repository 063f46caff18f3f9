"""Writes the free template in the layouts of SMPL's and SMPL-X's own files."""

from __future__ import annotations

import pickle
from importlib import resources
from pathlib import Path

import numpy as np

from avatar_core.body import Body
from avatar_core.body.joints import SMPLX_PARENTS


def smpl_entries(body: Body) -> dict[str, np.ndarray | str]:
    """What an SMPL .pkl holds."""
    parents = body.parents.astype(np.int64)
    parents[0] = 2**32 - 1
    return {
        "v_template": body.vertices.astype(np.float64),
        "f": body.faces.astype(np.uint32),
        "weights": body.weights.astype(np.float64),
        "J_regressor": body.regressor.astype(np.float64),
        "J": body.joints().astype(np.float64),
        "kintree_table": np.stack([parents, np.arange(len(parents))]),
        "shapedirs": body.shapedirs.astype(np.float64),
        "posedirs": body.posedirs if body.posedirs is not None else np.zeros(0),
        "bs_type": "lrotmin",
        "bs_style": "lbs",
    }


def write_pkl(path: Path, entries: dict, protocol: int = 2) -> Path:
    path.write_bytes(pickle.dumps(entries, protocol=protocol))
    return path


def smplx_entries(body: Body) -> dict[str, np.ndarray]:
    """What an SMPL-X .npz holds: 55 joints, 300 + 100 shape and expression directions."""
    data = np.load(str(resources.files("blend_templates") / "body.npz"))
    count = len(body.vertices)
    weights = np.zeros((count, 55))
    np.put_along_axis(weights, data["w_idx"].astype(int), data["w_val"] / 65535.0, 1)
    regressor = np.zeros((55, count))
    regressor[data["jr_row"], data["jr_col"]] = data["jr_val"]
    basis = np.zeros((count, 3, 400), np.float32)
    basis[:, :, :10] = body.shapedirs
    basis[:, :, 300:352] = body.expressions
    posedirs = np.zeros((count, 3, 486), np.float32)
    assert body.posedirs is not None
    posedirs[:, :, :189] = body.posedirs[:, :, :189]
    return {
        "v_template": body.vertices,
        "f": body.faces.astype(np.uint32),
        "weights": weights / weights.sum(1, keepdims=True),
        "J_regressor": regressor,
        "kintree_table": np.stack([np.array(SMPLX_PARENTS) % 2**32, np.arange(55)]),
        "shapedirs": basis,
        "posedirs": posedirs,
        "vt": body.uv,
        "ft": body.face_uv,
        "hands_componentsl": np.eye(45),
        "hands_componentsr": np.eye(45),
        "hands_meanl": np.zeros(45),
        "hands_meanr": np.zeros(45),
        "lmk_faces_idx": np.zeros(51, np.int64),
        "lmk_bary_coords": np.tile(np.array([1.0, 0, 0]), (51, 1)),
        "joint2num": np.array({"pelvis": 0}, dtype=object),  # the published files have such entries too
    }
