"""A head in a quarter of the room: principal tables, in 8 bits, of whose mixtures the expressions' consist.

Expressions overlap (both smiles, a smile and the cheeks), so that fewer tables span most of what they add to the mean.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from .config import FieldConfig
from .field import Field

PRINCIPAL = 20  # tables; a released head has 24 MB then
_STEPS = 127  # of a stored value, on each side of 0


@torch.no_grad()
def compacted(config: FieldConfig, parameters: dict[str, Tensor], reach: np.ndarray) -> tuple[dict[str, Tensor], float]:
    """Parameters of a field with `principal` tables, from those of one with `config`, and what is lost: the root mean
    square of the error, as a share of what the expressions add.

    reach: [expressions], how far each coefficient goes; what moves the most is kept the best.
    """
    first = int(config.mean)
    tables = parameters["tables"].float()
    amount = torch.as_tensor(reach, dtype=torch.float32)[:, None]
    moved = tables[first:].flatten(1) * amount
    axes = torch.linalg.eigh((moved @ moved.T).double())[1][:, first - PRINCIPAL :].to(moved)
    principal = torch.cat([tables[:first], (axes.T @ moved).view(-1, *tables.shape[1:])])
    mixing = torch.zeros(config.tables, PRINCIPAL)
    mixing[:first, :first] = torch.eye(first)
    mixing[first:, first:] = torch.where(amount > 0, axes / amount.clamp(min=1e-6), 0.0)
    field = Field(replace(config, principal=PRINCIPAL))
    codes, scales = _rounded(principal, field.spec.sizes)
    made = parameters | {"tables": codes, "scales": scales, "mixing": mixing}
    field.load_state_dict(made)
    alone = torch.diag(amount[:, 0])
    wrong = [field.mix(torch.cat([alone.new_zeros(first), one])).flatten() - to for one, to in zip(alone, moved)]
    return made, float(torch.stack(wrong).norm() / moved.norm().clamp(min=1e-12))


def _rounded(tables: Tensor, sizes: tuple[int, ...]) -> tuple[Tensor, Tensor]:
    """[B, rows, features] int8, and what a step is worth: [B, levels]."""
    parts = tables.split(list(sizes), 1)
    scales = [part.abs().amax((1, 2)).clamp(min=1e-12) / _STEPS for part in parts]
    codes = [torch.round(part / scale[:, None, None]).to(torch.int8) for part, scale in zip(parts, scales, strict=True)]
    return torch.cat(codes, 1), torch.stack(scales, 1)
