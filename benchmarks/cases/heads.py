"""A query of NeRFBlendShape's released field, and a training step of its tables, against plain PyTorch."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from torch import Tensor
from torch.nn.functional import softplus

from avatar_core.cuda.hashgrid import blend_tables, hash_grid_reference
from avatar_core.cuda.sparse_adam import SparseAdam
from avatar_core.methods.nerf_blendshape.config import FieldConfig
from avatar_core.methods.nerf_blendshape.field import Field
from avatar_core.nn.encoding import spherical_harmonics
from benchmarks.timing import Case

POINTS, SAMPLES = 1 << 16, 1 << 14  # of a picture's part, and of a frame's training rays that are not dark
USED = 12  # expressions of a frame that are not 0


def cases() -> Iterator[Case]:
    torch.manual_seed(0)
    field = Field(FieldConfig())
    field.tables.data.normal_(0, 0.1)
    points = (torch.rand(POINTS, 3) * 2 - 1) * field.bound
    directions = torch.nn.functional.normalize(torch.randn(POINTS, 3))
    weights = torch.zeros(len(field.tables))
    weights[: USED + 1] = torch.rand(USED + 1)
    table = field.mix(weights).detach()

    def ours() -> tuple[Tensor, Tensor]:
        with torch.no_grad():
            return field(points, directions, table)

    def theirs() -> tuple[Tensor, Tensor]:
        with torch.no_grad():
            return plain(field, points, directions, table)

    for found, wanted in zip(ours(), theirs(), strict=True):
        torch.testing.assert_close(found, wanted, atol=1e-3, rtol=1e-3)
    size = f"{POINTS} points, 16 levels of 4, 64 wide"
    yield Case("head field: density and colour", size, ours, {"torch": theirs}, {"torch": 7.0})
    yield Case(
        *("head field: a training step", f"{SAMPLES} points, {len(field.tables)} tables, {USED} used"),
        training_step(field, points[:SAMPLES], directions[:SAMPLES], weights, sparse=True),
        {"torch": training_step(field, points[:SAMPLES], directions[:SAMPLES], weights, sparse=False)},
        {"torch": 10.0},
    )


def training_step(
    field: Field, points: Tensor, directions: Tensor, weights: Tensor, sparse: bool
) -> Callable[[], object]:
    """Forward, backward and optimiser; sparse: by our kernels, else in plain PyTorch with all tables dense."""
    recorded: list[tuple[Tensor, Tensor]] = []
    nets = [field.density_net.params, field.colour_net.params]
    tables = torch.nn.Parameter(field.tables.detach().clone())
    dense = torch.optim.Adam(nets if sparse else [tables, *nets], lr=1e-6)
    few = SparseAdam([tables], lr=1e-6, factors={tables: recorded})

    def step() -> None:
        dense.zero_grad()
        if sparse:
            density, colour = field(points, directions, blend_tables(tables, weights, recorded))
        else:
            mixed = torch.einsum("k,kec->ec", weights, tables)
            density, colour = plain(field, points, directions, mixed)
        (density.mean() + colour.mean()).backward()
        dense.step()
        if sparse:
            few.step()

    return step


def plain(field: Field, points: Tensor, directions: Tensor, table: Tensor) -> tuple[Tensor, Tensor]:
    """The field's definition in PyTorch's own operations."""
    encoded = hash_grid_reference((points + field.bound) / (2 * field.bound), table, field.spec)
    raw = network(field.density_net.matrices(), encoded)
    seen = torch.cat([spherical_harmonics(directions), raw[:, 1 : field.density_net.outputs]], 1)
    colour = torch.sigmoid(network(field.colour_net.matrices(), seen)[:, :3])
    return softplus(raw[:, 0]), colour


def network(matrices: list[Tensor], x: Tensor) -> Tensor:
    for matrix in matrices[:-1]:
        x = torch.relu(x @ matrix.T)
    return x @ matrices[-1].T
