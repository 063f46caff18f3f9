"""A released checkpoint becomes an actor: `avatar import npva checkpoint_latest.pth --data IDENTITY_FOLDER`.

The published head is driven by a texture and a mesh of every frame. Here frames of the identity's folder become
expressions, named SEQUENCE/FRAME: at 1, the head looks as in that frame, and all at 0 as in the first one.
"""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ... import __version__
from ...actor import Actor, describe
from ...body.stand_in import stand_in
from ...errors import AvatarError
from . import checkpoint
from .config import Config
from .encoder import LATENT
from .model import Model
from .space import to_head
from .surface import SIDE

_TEXTURE = 1024
_MOST = 64  # frames that become expressions


class IdentityError(AvatarError):
    """A folder of an identity that lacks something, or holds something else; the sentence names the file."""


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("checkpoint", type=Path, help="checkpoint_latest.pth or another of the released model's folder")
    parser.add_argument(
        "--data",
        type=Path,
        required=True,
        help="the identity's own folder, as it was prepared for training: gendir/posMean.npy and gendir/posVar.txt are "
        "not in the checkpoint; textures and position maps of frames make expressions",
    )
    parser.add_argument(
        "--frames",
        type=Path,
        help="list of frames, a line 'SEQUENCE FRAME' each, that become expressions, the neutral one first (default: "
        f"the first frame of every sequence of frame_list.txt, at most {_MOST})",
    )
    parser.add_argument("--licence", default="unknown", help="of the checkpoint (default unknown)")
    parser.add_argument("--output", type=Path, required=True, help="the .actor file")


def run(arguments: Namespace) -> int:
    found = checkpoint.read(arguments.checkpoint)
    mean, deviation = read_positions(arguments.data)
    frames = chosen_frames(arguments.data, arguments.frames)
    actor = import_actor(found, mean, deviation, arguments.data, frames, arguments.output.stem, arguments.licence)
    actor.save(arguments.output)
    count = len(actor.schema.expressions)
    print(f"wrote {arguments.output}: {'1024' if found.config.fine else '256'}² points, {count} expressions")
    return 0


def read_positions(folder: Path) -> tuple[Tensor, float]:
    """Mean [3, SIDE, SIDE], mm, v = 1 in the top row, and the deviation of an identity's position maps. Raises
    IdentityError."""
    mean = read_map(folder / "gendir" / "posMean.npy", (3, SIDE, SIDE))
    path = folder / "gendir" / "posVar.txt"
    try:
        variance = float(path.read_text(encoding="utf-8").split()[0])
    except (OSError, ValueError, IndexError) as error:
        raise IdentityError(f"{path} cannot be read; it holds the variance of position maps: {error}") from error
    if not 0 < variance < 1e6:
        raise IdentityError(f"{path} must hold a positive variance in mm², got {variance}")
    return upright(torch.as_tensor(mean)), variance**0.5


def read_map(path: Path, shape: tuple[int, ...]) -> np.ndarray:
    """A position map of float numbers as it lies on disk, indexed by u, then v. Raises IdentityError."""
    try:
        stored = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise IdentityError(f"{path} cannot be read; 'avatar import npva' needs the identity's folder") from error
    if stored.shape != shape or stored.dtype.kind != "f":
        raise IdentityError(f"{path} must hold floats {shape}, holds {stored.dtype} {stored.shape}")
    values = np.array(stored, np.float32)
    if not np.isfinite(values).all():
        raise IdentityError(f"{path} holds NaN or infinity")
    return values


def upright(stored: Tensor) -> Tensor:
    """[3, u, v] -> [3, SIDE, SIDE] with v = 1 in the top row, as textures have it."""
    return stored.transpose(1, 2).flip(1).contiguous()


def chosen_frames(folder: Path, listed: Path | None) -> list[tuple[str, str]]:
    """Sequences and frames. Raises IdentityError."""
    path = listed or folder / "frame_list.txt"
    try:
        lines = [line.split() for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
    except (OSError, ValueError) as error:
        raise IdentityError(f"{path} cannot be read: {error}") from error
    frames: list[tuple[str, str]] = []
    for line in lines:
        if len(line) != 2 or any(len(PurePosixPath(part).parts) != 1 or part == ".." for part in line):
            raise IdentityError(f"{path}: every line must be 'SEQUENCE FRAME', got {' '.join(line)!r}")
        if listed is not None or line[0] not in {sequence for sequence, _ in frames}:
            frames.append((line[0], line[1]))
    if listed is not None and len(frames) > _MOST:
        raise IdentityError(f"{path} names {len(frames)} frames; at most {_MOST} become expressions")
    return frames[:_MOST]


def import_actor(
    found: checkpoint.Checkpoint,
    mean: Tensor,
    deviation: float,
    folder: Path,
    frames: list[tuple[str, str]],
    name: str,
    licence: str,
) -> Actor:
    """Raises IdentityError."""
    names = tuple(f"{sequence}/{frame}" for sequence, frame in frames[1:])
    options = vars(found.config) | {"expressions": names, "shape_keys": {}, "driver": 0}
    model = Model(Config(**options), stand_in(name, -np.ones(3), np.ones(3), licence)).eval()
    model.load_state_dict(found.state, strict=False)
    model.set_positions(mean, deviation)
    with torch.inference_mode():
        codes = [frame_latent(model, folder, *frame) for frame in frames] or [torch.zeros(1, *LATENT)]
        model.driver.bias.copy_(codes[0].flatten())
        if names:
            model.driver.weight.copy_(torch.cat(codes[1:]).flatten(1).T - codes[0].flatten()[:, None])
        vertices = to_head(model.decode(codes[0]).vertices.double().numpy())
    model.body = stand_in(name, vertices.min(0), vertices.max(0), licence)
    provenance: dict[str, Any] = {
        "name": name,
        "dataset": folder.name,
        "imported": "NPVA (Wang et al. 2023)",
        "metrics": {},
        "date": datetime.now(UTC).date().isoformat(),
        "avatar_core": __version__,
        **({} if found.step is None else {"steps": found.step}),
    }
    return Actor(model, model.body, describe("npva", model, model.body, provenance, licence))


def frame_latent(model: Model, folder: Path, sequence: str, frame: str) -> Tensor:
    """The mean latent [1, 4, 8, 8] of a recorded frame. Raises IdentityError."""
    texture = read_texture(folder / "unwrapped_uv_1024" / sequence / "average" / f"{frame}.png")
    return model.encode(texture[None], frame_positions(folder, sequence, frame)[None]).mean


def frame_positions(folder: Path, sequence: str, frame: str) -> Tensor:
    """The position map [3, SIDE, SIDE], mm, v = 1 in the top row, of a recorded frame. Raises IdentityError."""
    stored = read_map(folder / "gendir" / "posMap" / sequence / f"{frame}.npy", (SIDE, SIDE, 3))
    return upright(torch.as_tensor(stored).permute(2, 0, 1))


def read_texture(path: Path) -> Tensor:
    """[3, 1024, 1024] float in 0..255. Raises IdentityError."""
    from PIL import Image

    try:
        with Image.open(path) as picture:
            if picture.size != (_TEXTURE, _TEXTURE):
                raise IdentityError(f"{path} must have {_TEXTURE} x {_TEXTURE} pixels, has {picture.size}")
            return torch.as_tensor(np.array(picture.convert("RGB"), np.float32)).permute(2, 0, 1)
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise IdentityError(f"{path} cannot be read as a picture: {error}") from error
