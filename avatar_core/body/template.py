"""The free template body: blend_templates/body.npz, folded from its 55 joints to SMPL's 24."""

from __future__ import annotations

from functools import lru_cache
from importlib import resources
from pathlib import Path

import numpy as np

from .arrays import BodyFileError, read_npz
from .joints import SMPL_JOINTS, SMPL_PARENTS
from .model import Body

_EXPRESSION_STEP = 1e-5  # metres
_KNUCKLES = (25, 28, 31, 34)  # of the left hand among the 55 joints; the right hand's are 15 further
_LIMIT = 64 << 20


@lru_cache(maxsize=1)
def load_template() -> Body:
    """The CC0 body: 13,886 vertices, 24 joints, 10 betas, 52 expressions."""
    return read_template(Path(str(resources.files("blend_templates") / "body.npz")))


def read_template(path: Path) -> Body:
    """A body from the layout that `blend_templates/rebuild` writes. Raises BodyFileError."""
    data = read_npz(path, _LIMIT)
    try:
        return _fold(data)
    except KeyError as error:
        raise BodyFileError(f"{path} is no template body: its entry {error} is missing") from error


def _fold(data: dict[str, np.ndarray]) -> Body:
    count = len(data["v_template"])
    weights55 = np.zeros((count, 55), np.float32)
    np.put_along_axis(weights55, data["w_idx"].astype(np.int64), data["w_val"].astype(np.float32), 1)
    weights55 /= weights55.sum(1, keepdims=True)
    regressor55 = np.zeros((55, count), np.float32)
    regressor55[data["jr_row"], data["jr_col"]] = data["jr_val"]
    expressions = np.zeros((count, 3, len(data["expr_names"])), np.float32)
    for unit, (start, end) in enumerate(zip(data["expr_ptr"][:-1], data["expr_ptr"][1:])):
        expressions[data["expr_idx"][start:end], :, unit] = data["expr_q"][start:end] * _EXPRESSION_STEP
    posedirs = np.zeros((count, 3, 207), np.float32)
    posedirs[data["pd_rows"]] = data["pd_q"] * data["pd_s"]
    shapedirs = data["shapedirs_q"] * data["shapedirs_s"][:, None, None]
    return Body(
        name="template",
        licence="CC0-1.0",
        vertices=data["v_template"],
        faces=split_quads(data["quads"]),
        uv=data["uv"].astype(np.float32) / 65535,
        face_uv=split_quads(data["quv"]),
        weights=fold_weights(weights55),
        joint_names=SMPL_JOINTS,
        parents=np.array(SMPL_PARENTS, np.int32),
        regressor=fold_regressor(regressor55),
        shapedirs=np.moveaxis(shapedirs, 0, 2),
        posedirs=posedirs,
        expressions=expressions,
        expression_names=tuple(str(name) for name in data["expr_names"]),
    )


def fold_weights(weights55: np.ndarray) -> np.ndarray:
    """[V, 55] SMPL-X weights -> [V, 24]: jaw and eyes join the head, fingers join the hand joints."""
    return np.concatenate(
        [
            weights55[:, :15],
            weights55[:, [15, 22, 23, 24]].sum(1, keepdims=True),
            weights55[:, 16:22],
            weights55[:, 25:40].sum(1, keepdims=True),
            weights55[:, 40:55].sum(1, keepdims=True),
        ],
        1,
    )


def fold_regressor(regressor55: np.ndarray) -> np.ndarray:
    """Rows of SMPL's 24 joints [24, V], of those of 55 joints [55, V]: hands are the means of their knuckles."""
    hands = [regressor55[[k + side for k in _KNUCKLES]].mean(0, keepdims=True) for side in (0, 15)]
    return np.concatenate([regressor55[:22], *hands])


def split_quads(quads: np.ndarray) -> np.ndarray:
    """[Q, 4] -> [2Q, 3], along the diagonal 0-2: quad q becomes triangles 2q and 2q + 1."""
    return np.concatenate([quads[:, [0, 1, 2]], quads[:, [0, 2, 3]]], 1).reshape(-1, 3).astype(np.int32)
