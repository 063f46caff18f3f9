"""Released checkpoints: `ngp_*.pth.tar`, a dictionary of torch with the model under 'model', or the model alone.

Read by torch's restricted unpickler. The networks are tiny-cuda-nn's vectors, which are our layout too.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ....nn.tcnn import layer_shapes, padded
from ...checkpoint import CheckpointError, load
from ..field import Field
from .config import Config

_NETS = {"sigma_net.params": "density_net.params", "color_net.params": "colour_net.params"}
_MEAN, _BASES, _GRID, _OFFSETS = "encoder.embeddings_mean", "encoder.embeddings", "density_grid", "encoder.offsets"


@dataclass(frozen=True)
class Checkpoint:
    """field: parameters of our Field by name, float32. grid: [H, H, H] densities. step: of its training, or None."""

    field: dict[str, Tensor]
    grid: Tensor
    step: int | None


def read(path: Path, config: Config) -> Checkpoint:
    """config: what the file must fit. Raises CheckpointError."""
    data = load(path, "NeRFBlendShape", [Counter])  # of the learning rate's milestones
    model = data.get("model", data)
    if not isinstance(model, dict):
        raise CheckpointError(f"{path}: 'model' must be a dictionary of tensors, is {type(model).__name__}")
    named = {str(name): tensor for name, tensor in model.items() if isinstance(tensor, Tensor)}
    step = data.get("global_step")
    return Checkpoint(*rename(named, config, path), step if type(step) is int else None)


def rename(published: dict[str, Tensor], config: Config, path: Path) -> tuple[dict[str, Tensor], Tensor]:
    """Our parameters, bit for bit, and the density grid. Raises CheckpointError that names `path`."""
    with torch.device("meta"):
        shapes = {name: tuple(value.shape) for name, value in Field(config).named_parameters()}
        spec = Field(config).spec
    rows, channels = shapes["tables"][1:]
    wanted: dict[str, tuple[int, ...]] = {
        _MEAN: (1, rows, channels),
        _BASES: (config.tables - 1, rows, channels),
        _GRID: (config.resolution,) * 3,
        **{theirs: shapes[ours] for theirs, ours in _NETS.items()},
    }
    for name, shape in wanted.items():
        if name not in published:
            raise CheckpointError(f"{path} has no '{name}'; it holds no head of NeRFBlendShape")
        found = published[name]
        if tuple(found.shape) != shape or found.dtype != torch.float32:
            raise CheckpointError(
                f"{path}: '{name}' must be float32 {shape}, is {str(found.dtype)[6:]} {tuple(found.shape)}"
                + _older(name, found, config)
            )
        if not bool(torch.isfinite(found).all()):
            raise CheckpointError(f"{path}: '{name}' holds NaN or infinity")
    offsets = published.get(_OFFSETS)
    if offsets is not None and offsets.tolist() != [*spec.offsets, spec.parameters]:
        raise CheckpointError(f"{path}: '{_OFFSETS}' are those of another grid; only the released one can be read")
    field = {ours: published[theirs] for theirs, ours in _NETS.items()}
    return field | {"tables": torch.cat([published[_MEAN], published[_BASES]])}, published[_GRID]


def publish(field: dict[str, Tensor], grid: Tensor) -> dict[str, Any]:
    """The inverse of `rename`."""
    nets = {theirs: field[ours] for theirs, ours in _NETS.items()}
    return nets | {_MEAN: field["tables"][:1], _BASES: field["tables"][1:], _GRID: grid}


def _older(name: str, found: Tensor, config: Config) -> str:
    """A hint where a network's outputs are rounded up to 8, as tiny-cuda-nn's CutlassMLP had them."""
    if name != "sigma_net.params":
        return ""
    shapes = layer_shapes(config.levels * config.features, 1, config.width, config.density_layers)[:-1]
    outputs = 1 + config.geometry
    older = sum(m * n for m, n in shapes) + -(-outputs // 8) * 8 * config.width
    if found.numel() != older or padded(outputs) * config.width == older:
        return ""
    return "; it was made with tiny-cuda-nn of before September 2022: convert it with a newer one"
