"""Released checkpoints: `last.ckpt` of PyTorch Lightning, of the coarse or the fine stage.

They hold no options: the number of scans and the frequencies of the normal network follow from shapes. The licensed
body in them is compared with the user's own and left behind.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from ..checkpoint import CheckpointError, load, take
from .field import Networks
from .networks import CODE

SYSTEM = "gDNA"
TEMPLATE = "smpl_server.smpl.v_template"
_MAX_PEOPLE = 1 << 16
_BESIDE_POINTS = 293  # conditions of the normal network: a detail code and 229 features


@dataclass(frozen=True)
class Checkpoint:
    """networks: parameters of field.Networks. shapes, details: codes [n, 64]. frequencies: of the normal network, 0 for
    none. template: [V, 3] the vertices of the body that it was trained with, None where they were left out."""

    networks: dict[str, Tensor]
    shapes: Tensor
    details: Tensor
    frequencies: int
    template: Tensor | None


def read(path: Path) -> Checkpoint:
    """Raises CheckpointError."""
    data = load(path, SYSTEM, foreign=True)
    state = data.get("state_dict")
    if not isinstance(state, dict):
        raise CheckpointError(f"{path} has no 'state_dict'; it is no checkpoint of {SYSTEM}")
    return parse({str(k): v.detach() for k, v in state.items() if isinstance(v, Tensor)}, path)


def parse(state: dict[str, Tensor], path: Path) -> Checkpoint:
    """Raises CheckpointError that names `path`."""
    codes = state.get("z_shapes.weight")
    if codes is None or codes.dim() != 2 or not 0 < len(codes) <= _MAX_PEOPLE:
        raise CheckpointError(f"{path} has no table 'z_shapes.weight'; it is no checkpoint of {SYSTEM}")
    first, frequencies = state.get("norm_network.lin0.weight_v"), 0
    if first is not None:
        frequencies, rest = divmod((first.shape[1] if first.dim() == 2 else 0) - 3 - _BESIDE_POINTS, 6)
        if rest or not 1 <= frequencies <= 16:
            raise CheckpointError(
                f"{path}: 'norm_network.lin0.weight_v' is {tuple(first.shape)}, which no encoding of points gives"
            )
    with torch.device("meta"):
        shapes = {name: tuple(value.shape) for name, value in Networks(frequencies).state_dict().items()}
    tables = {name: (len(codes), CODE) for name in ("z_shapes.weight", "z_details.weight")}
    found = take(state, shapes | tables, path, f"people of {SYSTEM}")
    return Checkpoint(
        {name: found[name] for name in shapes},
        found["z_shapes.weight"],
        found["z_details.weight"],
        frequencies,
        state.get(TEMPLATE),
    )
