"""What is recorded of NeRFBlendShape, and what its shapes tell."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product

import numpy as np
import torch
from torch import Tensor

from avatar_core.methods.nerf_blendshape.paper.config import Config
from avatar_core.nn.tcnn import layer_shapes

from .conftest import Reference


@dataclass(frozen=True)
class Recording:
    """One of the two recorded configurations."""

    values: Reference
    prefix: str

    def __getitem__(self, name: str) -> Tensor:
        return torch.as_tensor(self.values[f"{self.prefix}/{name}"])

    def array(self, name: str) -> np.ndarray:
        return self.values[f"{self.prefix}/{name}"]


def recorded_config(recording: Recording) -> Config:
    """The configuration that the recorded shapes and scales tell."""
    scale, bases = recording.array("scale"), recording["bases"]
    encoded, geometry = len(scale) * bases.shape[2], recording["sigma_net_out"].shape[1] - 1
    found = []
    for width, density, colour in product(range(16, 257, 16), range(1, 9), range(1, 9)):
        nets = (encoded, 1 + geometry, width, density), (16 + geometry, 3, width, colour)
        sizes = [sum(m * n for m, n in layer_shapes(*net)) for net in nets]
        if sizes == [len(recording["pS"]), len(recording["pC"])]:
            found.append((width, density, colour))
    assert len(found) == 1
    width, density, colour = found[0]
    return Config(
        expressions=tuple(f"expression {k}" for k in range(len(bases))),
        levels=len(scale),
        features=bases.shape[2],
        log2_size=int(np.log2(np.diff(recording.array("offsets")).max())),
        base=round(float(scale[0])) + 1,
        finest=round(float(scale[-1])) + 1,
        width=width,
        density_layers=density,
        colour_layers=colour,
        geometry=geometry,
        resolution=len(recording["occ"]),
    )


def published(recording: Recording, resolution: int) -> dict[str, Tensor]:
    """The state of a released file."""
    return {
        "encoder.embeddings_mean": recording["mean"][None],
        "encoder.embeddings": recording["bases"],
        "encoder.offsets": recording["offsets"],
        "sigma_net.params": recording["pS"],
        "color_net.params": recording["pC"],
        "density_grid": torch.zeros(resolution, resolution, resolution),
    }


def pixel_rays(pose: np.ndarray, intrinsics: np.ndarray) -> tuple[Tensor, Tensor]:
    """Origins and directions [H W, 3] float32 through pixels whose centres are whole numbers."""
    fx, fy, cx, cy, width, height = intrinsics
    rows, columns = np.mgrid[: int(height), : int(width)]
    local = np.stack([(columns - cx) / fx, (rows - cy) / fy, np.ones(rows.shape)], -1).reshape(-1, 3)
    directions = local @ pose[:3, :3].T
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    origins = np.broadcast_to(pose[:3, 3], directions.shape)
    return torch.as_tensor(origins.astype(np.float32)), torch.as_tensor(directions.astype(np.float32))
