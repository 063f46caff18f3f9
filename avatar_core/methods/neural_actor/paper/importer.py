"""A released checkpoint and its folder become an actor: `avatar import neural_actor nerf_X.pt --data ROOT`."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from .... import __version__
from ....actor import Actor, describe
from ....body import Body, load_body
from ....body.joints import SMPL_JOINTS, SMPL_PARENTS
from ....data.neural_actor import ActorFrame, ActorMesh, LayoutError, NeuralActorFolder, rest_joints
from ....errors import AvatarError
from . import checkpoint
from .config import CHOICES, Config
from .model import Model

_NEAREST = 32  # vertices that a joint is written as a mixture of


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("checkpoint", type=Path, help="nerf_*.pt")
    parser.add_argument("--data", type=Path, required=True, help="its folder: transform/, tex/, transform_tpose.json")
    parser.add_argument("--body", type=Path, help="your SMPL file, for body shape; it must have the same mesh")
    parser.add_argument("--textures", type=int, default=8, help="texture maps to keep, spread over poses (default 8)")
    parser.add_argument(
        "--sampler", choices=CHOICES["sampler"], default="published", help="shell: the same field, several times faster"
    )
    parser.add_argument("--licence", default="CC-BY-NC-4.0", help="of the checkpoint (default CC-BY-NC-4.0)")
    parser.add_argument("--output", type=Path, required=True, help="the .actor file")


def run(arguments: Namespace) -> int:
    actor = import_actor(
        checkpoint.read(arguments.checkpoint),
        NeuralActorFolder.open(arguments.data),
        load_body(arguments.body) if arguments.body else None,
        arguments.textures,
        arguments.sampler,
        arguments.output.stem,
        arguments.licence,
    )
    actor.save(arguments.output)
    print(f"wrote {arguments.output}; experimental: compare a frame with the original's before you rely on it")
    return 0


def import_actor(
    found: checkpoint.Checkpoint,
    data: NeuralActorFolder,
    shape: Body | None,
    textures: int,
    sampler: str,
    name: str,
    licence: str,
) -> Actor:
    """shape: the SMPL body whose betas and joints to use. Raises AvatarError for what does not fit together."""
    if not data.textures:
        raise LayoutError(f"{data.folder} has no tex/: the released texture network cannot be used, so give its maps")
    if found.mesh.weights.shape[1] != len(SMPL_JOINTS):
        raise AvatarError(f"the checkpoint has {found.mesh.weights.shape[1]} joints; actors here follow SMPL's 24")
    body = actor_body(found.mesh, data.frames, shape, name, licence)
    chosen = np.unique(np.linspace(0, len(data.frames) - 1, max(1, textures)).round().astype(int))
    maps = [data.texture(int(index)) for index in chosen]
    config = Config(
        reach=float(found.options.get("min_dis_eps", Config.reach)),
        textures=len(maps),
        texture_size=maps[0].shape[0],
        sampler=sampler,
    )
    model = Model(config, body)
    model.renderer.load_state_dict(found.state)
    squares = np.stack([_square(image, maps[0].shape[0]) for image in maps])
    model.textures.load_state_dict(
        {"maps": torch.as_tensor(squares), "poses": torch.as_tensor(np.stack([data.frames[i].pose for i in chosen]))}
    )
    if data.rest is not None:
        model.rest.copy_(torch.as_tensor(data.rest))
    provenance = {
        "name": name,
        "dataset": data.folder.name,
        "imported": "Neural Actor (Liu et al. 2021)",
        "metrics": {},
        "date": datetime.now(UTC).date().isoformat(),
        "avatar_core": __version__,
    }
    return Actor(model.eval(), body, describe("neural_actor_paper", model, body, provenance, licence))


def actor_body(mesh: ActorMesh, frames: Sequence[ActorFrame], shape: Body | None, name: str, licence: str) -> Body:
    """shape: the SMPL body whose betas to use, None for none. Raises AvatarError when it is another mesh."""
    uv, face_uv = np.unique(mesh.face_uv.reshape(-1, 2), axis=0, return_inverse=True)
    if shape is not None and (len(shape.vertices) != len(mesh.vertices) or shape.weights.shape != mesh.weights.shape):
        raise AvatarError(
            f"the body '{shape.name}' has {len(shape.vertices)} vertices, the checkpoint's {len(mesh.vertices)}: "
            f"it is another mesh"
        )
    return Body(
        name=name,
        vertices=mesh.vertices,
        faces=mesh.faces,
        uv=uv,
        face_uv=face_uv.reshape(-1, 3),
        weights=mesh.weights,
        joint_names=SMPL_JOINTS,
        parents=np.array(SMPL_PARENTS),
        regressor=_regressor(mesh.vertices, rest_joints(frames)),
        shapedirs=np.zeros((0, 3, 0), np.float32) if shape is None else shape.shapedirs,
        licence=licence,
    )


def _regressor(vertices: np.ndarray, joints: np.ndarray) -> np.ndarray:
    """[J, V], rows sum to 1: each joint as the smallest mixture of its nearest vertices that gives its place."""
    regressor = np.zeros((len(joints), len(vertices)), np.float32)
    for row, joint in zip(regressor, joints):
        near = np.argsort(np.linalg.norm(vertices - joint, axis=1))[:_NEAREST]
        system = np.concatenate([(vertices[near] - joint).T, np.ones((1, len(near)))])
        row[near] = np.linalg.lstsq(system, np.array([0, 0, 0, 1.0]), rcond=None)[0]
    return regressor


def _square(image: np.ndarray, side: int) -> np.ndarray:
    """[side, side, 3] uint8 from [H, W, 3] in [0, 1]."""
    pixels = Image.fromarray(np.round(image * 255).astype(np.uint8))
    return np.asarray(pixels if pixels.size == (side, side) else pixels.resize((side, side), Image.Resampling.LANCZOS))
