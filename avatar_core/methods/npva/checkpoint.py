"""Released checkpoints: `checkpoint_*.pth`, a dictionary with the three networks' states.

The mean and the deviation of position maps are not in them: they come from the folder of the identity.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from ..checkpoint import CheckpointError, load, take
from .aggregation import Aggregator
from .config import Config
from .decoders import Decoders
from .encoder import Encoder
from .names import THEIRS, renamed

SYSTEM = "NPVA"
_PARALLEL = "module."  # before every name, of training on several GPUs
_FINE = "decoder.exprDecoder.upsample.6.conv2.bias"
_DISPLACED = "decoder.geomDisDecoder.upsample.0.conv2.bias"
_FEATURES, _WIDTH = "decoder.exprDecoder.upsample.{}.conv2.bias", "aggregator.alpha_branch.0.bias"


@dataclass(frozen=True)
class Checkpoint:
    """config: what the shapes of its tensors say. state: parameters of our three networks. step: of its training."""

    config: Config
    state: dict[str, Tensor]
    step: int | None


def read(path: Path) -> Checkpoint:
    """Raises CheckpointError."""
    data = load(path, SYSTEM, foreign=True)  # numpy's maps of errors are not wanted
    found: dict[str, Tensor] = {}
    for network in THEIRS.values():
        state = data.get(network)
        if not isinstance(state, dict):
            raise CheckpointError(f"{path} has no '{network}'; it is no checkpoint of {SYSTEM}")
        for name, value in state.items():
            if isinstance(value, Tensor):
                found[f"{network}.{str(name).removeprefix(_PARALLEL)}"] = value.detach()
    step = data.get("global_step")
    return Checkpoint(*rename(found, path), step if type(step) is int else None)


def rename(found: dict[str, Tensor], path: Path) -> tuple[Config, dict[str, Tensor]]:
    """What the tensors make, and ours by their names, bit for bit. Raises CheckpointError that names `path`."""
    fine = _FINE in found
    widths = [found.get(name) for name in (_FEATURES.format(6 if fine else 4), _WIDTH)]
    if any(width is None or width.dim() != 1 for width in widths):
        raise CheckpointError(f"{path} lacks '{_FEATURES.format(4)}' or '{_WIDTH}'; it holds no head of {SYSTEM}")
    features, width = (len(tensor) for tensor in widths if tensor is not None)
    config = Config(
        fine=fine, displaced=_DISPLACED in found, features=features // 4, width=width, opaque=True, encoder=True
    )
    try:
        config.check()
    except ValueError as error:
        raise CheckpointError(f"{path} holds networks that no head of {SYSTEM} has: {error}") from error
    with torch.device("meta"):
        networks = {"encoder": Encoder(), "decoders": Decoders(config), "aggregator": Aggregator(config)}
        shapes = {f"{part}.{k}": v for part, one in networks.items() for k, v in one.state_dict().items()}
    theirs = renamed(shapes)
    wanted = {theirs[name]: tuple(value.shape) for name, value in shapes.items() if value.is_floating_point()}
    state = take(found, wanted, path, f"head of {SYSTEM}")
    counts = {name: torch.zeros((), dtype=torch.int64) for name, value in shapes.items() if theirs[name] not in wanted}
    return config, {name: state[theirs[name]] for name in shapes if theirs[name] in wanted} | counts


def publish(state: dict[str, Tensor]) -> dict[str, dict[str, Tensor]]:
    """The inverse of `rename`: states by the released networks' names, without what is never used."""
    states: dict[str, dict[str, Tensor]] = {network: {} for network in THEIRS.values()}
    for ours, theirs in renamed(state).items():
        network, name = theirs.split(".", 1)
        states[network][_PARALLEL + name] = state[ours]
    return states
