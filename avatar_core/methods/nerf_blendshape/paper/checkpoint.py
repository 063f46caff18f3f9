"""Released checkpoints: `ngp_*.pth.tar`, a dictionary of torch with the model under 'model', or the model alone.

Read by torch's restricted unpickler. The networks are tiny-cuda-nn's vectors, which are our layout too.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from zipfile import is_zipfile

import torch
from torch import Tensor

from ....errors import AvatarError
from ....nn.tcnn import layer_shapes, padded
from ..field import Field
from .config import Config

_NETS = {"sigma_net.params": "density_net.params", "color_net.params": "colour_net.params"}
_MEAN, _BASES, _GRID, _OFFSETS = "encoder.embeddings_mean", "encoder.embeddings", "density_grid", "encoder.offsets"
_MAX_BYTES = 4 << 30


class CheckpointError(AvatarError):
    """A checkpoint that cannot be imported; the sentence names the file and the tensor."""


@dataclass(frozen=True)
class Checkpoint:
    """field: parameters of our Field by name, float32. grid: [H, H, H] densities. step: of its training, or None."""

    field: dict[str, Tensor]
    grid: Tensor
    step: int | None


def read(path: Path, config: Config) -> Checkpoint:
    """config: what the file must fit. Raises CheckpointError."""
    try:
        if path.stat().st_size > _MAX_BYTES:
            raise CheckpointError(f"{path} is larger than any checkpoint of NeRFBlendShape")
        with torch.serialization.safe_globals([Counter]):  # of the learning rate's milestones
            data = torch.load(path, map_location="cpu", weights_only=True, mmap=is_zipfile(path))
        model = data.get("model", data)
        named = {str(name): tensor for name, tensor in model.items() if isinstance(tensor, Tensor)}
    except CheckpointError:
        raise
    except OSError as error:
        raise CheckpointError(f"{path} cannot be read: {error.strerror or error}") from error
    except Exception as error:  # torch raises many kinds for foreign and damaged files
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise CheckpointError(
            f"{path} is no checkpoint of NeRFBlendShape, or holds more than tensors: {reason}"
        ) from error
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
