"""Bodies as large as SMPL's, with random data of its layout: an animator's frame, batches, gradients to the pose.

smplx blends the shape anew in each call, and so do ours in batches; an animator's body keeps its shape, for ours and
for body-models. The latter needs a NumPy of its own: BODY_MODELS_PYTHON names an interpreter that has it, which answers
over pipes (some 0.05 ms, counted as its own).
"""

from __future__ import annotations

import contextlib
import io
import os
import pickle
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from avatar_core.body import load_body
from avatar_core.body.joints import SMPL_PARENTS
from avatar_core.body.kinematics import relative_transforms
from avatar_core.body.pose_offsets import pose_features
from avatar_core.cuda.body_frame import ShapedBody
from avatar_core.cuda.correctives import Correctives
from avatar_core.cuda.skin import skin_points, sparse_weights, unskin_points, unskin_points_reference
from benchmarks.timing import Case

_VERTICES, _JOINTS = 6890, 24
_BODY_MODELS = """
import sys, numpy as np
from body_models.smpl.numpy import SMPL
model = SMPL(model_path=sys.argv[1])
pose = np.load(sys.argv[2])
identity = model.prepare_identity(np.zeros((1, 10), np.float32))
for _ in sys.stdin:
    model.forward_vertices(pose[:, 1:], pelvis_rotation=pose[:, 0], identity=identity)
    print(flush=True)
"""


def cases() -> Iterator[Case]:
    data = _data()
    rest, shapes, regressor, dense = (
        torch.from_numpy(data[name]).float() for name in ("v_template", "shapedirs", "J_regressor", "weights")
    )
    weights, joints = sparse_weights(dense)
    correctives = Correctives.pack(torch.from_numpy(data["posedirs"]).float())
    basis = shapes.flatten(0, 1).T.contiguous()  # [10, 3 V]

    def batch(pose: Tensor, betas: Tensor) -> Tensor:
        shaped = rest + (betas @ basis).view(len(betas), -1, 3)
        transforms = relative_transforms(pose, regressor @ shaped, SMPL_PARENTS)
        return skin_points(shaped, weights, transforms, joints, correctives, pose_features(pose))

    def to_pose(pose: Tensor, betas: Tensor) -> None:
        batch(pose.clone().requires_grad_(), betas).square().sum().backward()

    pose, _ = _controls(1)
    centres = regressor @ rest
    body = ShapedBody(rest, centres, SMPL_PARENTS, weights, joints, correctives)
    with tempfile.TemporaryDirectory() as folder:
        model, remote = _smplx(Path(folder), data), _body_models(Path(folder), data, pose)
        yield Case(
            "body, a frame",
            f"{_VERTICES} vertices",
            partial(body.posed, pose[0]),
            {**({"smplx": partial(model, *_controls(1), False)} if model else {}), **remote},
            {**({"smplx": 8.0} if model else {}), **{name: 3.0 for name in remote}},
            0.5,
        )
        for count in (16, 64):
            peers = {"smplx": partial(model, *_controls(count), False)} if model else {}
            forward = partial(_without_gradients, batch, *_controls(count))
            yield Case("bodies", f"{count} of {_VERTICES} vertices", forward, peers, dict.fromkeys(peers, 1.0))
        for count in (1, 64):
            peers = {"smplx": partial(model, *_controls(count), True)} if model else {}
            both = partial(to_pose, *_controls(count))
            yield Case("bodies, both ways", f"{count} of {_VERTICES} vertices", both, peers, dict.fromkeys(peers, 1.0))
    transforms = relative_transforms(pose[0], centres, SMPL_PARENTS)
    points = skin_points(rest, weights, transforms, joints)
    yield Case(
        "inverse skinning",
        f"{_VERTICES} points",
        partial(unskin_points, points, weights, transforms, joints),
        {"torch": partial(unskin_points_reference, points, dense, transforms)},
    )


def _without_gradients(work: Callable[..., Tensor], *arguments: Tensor) -> Tensor:
    with torch.inference_mode():
        return work(*arguments)


def _controls(count: int) -> tuple[Tensor, Tensor]:
    """Poses [B, 24, 3] and betas [B, 10]."""
    random = torch.Generator().manual_seed(0)
    return 0.3 * torch.randn(count, _JOINTS, 3, generator=random), torch.randn(count, 10, generator=random)


def _data() -> dict[str, np.ndarray]:
    """Numbers of an SMPL file: vertices of the free body, four weights a vertex, dense offsets."""
    random = np.random.default_rng(0)
    body = load_body()
    rest = body.vertices[np.sort(random.choice(len(body.vertices), _VERTICES, replace=False))].astype(np.float64)
    apart = np.linalg.norm(rest[:, None] - body.joints(), axis=-1)
    nearest = np.argsort(apart, 1)[:, :4]
    near, weights = np.exp(-8 * np.take_along_axis(apart, nearest, 1)), np.zeros((_VERTICES, _JOINTS))
    np.put_along_axis(weights, nearest, near / near.sum(1, keepdims=True), 1)
    regressor = np.zeros((_JOINTS, _VERTICES))
    np.put_along_axis(regressor, np.argsort(apart.T, 1)[:, :30], 1 / 30, 1)
    return {
        "v_template": rest,
        "shapedirs": random.normal(0, 1e-3, (_VERTICES, 3, 10)),
        "posedirs": random.normal(0, 1e-4, (_VERTICES, 3, 9 * (_JOINTS - 1))),
        "weights": weights,
        "J_regressor": regressor,
        "J": regressor @ rest,
        "kintree_table": np.stack([np.array(SMPL_PARENTS) % 2**32, np.arange(_JOINTS)]).astype(np.uint32),
        "f": random.integers(0, _VERTICES, (13776, 3)).astype(np.uint32),
        "bs_type": np.array("lrotmin"),
        "bs_style": np.array("lbs"),
    }


def _smplx(folder: Path, data: dict[str, np.ndarray]) -> Callable[[Tensor, Tensor, bool], None] | None:
    """smplx's bodies in poses, and with `gradients` those to the poses; None where it is missing."""
    try:
        import smplx
        from scipy.sparse import csc_matrix
    except ImportError:
        return None
    with open(folder / "SMPL_NEUTRAL.pkl", "wb") as file:
        pickle.dump({**data, "J_regressor": csc_matrix(data["J_regressor"])}, file)
    with contextlib.redirect_stdout(io.StringIO()):
        model = smplx.SMPL(str(folder), create_betas=False, create_body_pose=False, create_global_orient=False)

    def run(pose: Tensor, betas: Tensor, gradients: bool) -> None:
        own = pose.clone().requires_grad_(gradients)
        with torch.set_grad_enabled(gradients):
            flat = own.flatten(1)
            vertices = model(betas=betas, body_pose=flat[:, 3:], global_orient=flat[:, :3]).vertices
            if gradients:
                vertices.square().sum().backward()

    return run


def _body_models(folder: Path, data: dict[str, np.ndarray], pose: Tensor) -> dict[str, Callable[[], object]]:
    """A frame by body-models in its own interpreter; empty where none is named."""
    python = os.environ.get("BODY_MODELS_PYTHON")
    if not python:
        return {}
    np.savez(folder / "smpl.npz", **data)
    np.save(folder / "pose.npy", pose.numpy())
    command = [python, "-c", _BODY_MODELS, str(folder / "smpl.npz"), str(folder / "pose.npy")]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    asking, answer = process.stdin, process.stdout
    assert asking is not None and answer is not None

    def frame() -> None:
        asking.write("\n")
        asking.flush()
        if not answer.readline():
            raise RuntimeError(f"body-models ended with {process.wait()}")

    return {"body-models": frame}
