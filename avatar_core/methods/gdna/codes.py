"""The codes of a training as coordinates that people can be made from.

A code is a mean plus principal axes, each as long as one standard deviation over the people of the training. Zeros are
the mean person, independent normal numbers are new people with all correlations kept (the published sampler draws each
of the 64 numbers by itself), and a slider moves along what differs most.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from .networks import CODE


class Codes(nn.Module):
    """Coordinates [K] to codes [64]. people: [n, K], the coordinates of those that were trained on."""

    mean: Tensor
    axes: Tensor
    people: Tensor

    def __init__(self, people: int) -> None:
        super().__init__()
        count = max(1, min(CODE, people - 1))
        self.register_buffer("mean", torch.zeros(CODE))
        self.register_buffer("axes", torch.zeros(CODE, count))
        self.register_buffer("people", torch.zeros(people, count))

    def forward(self, coordinates: Tensor) -> Tensor:
        return self.mean + self.axes @ coordinates

    @torch.no_grad()
    def fit(self, table: Tensor) -> None:
        """table: the codes [n, 64] of a training."""
        mean = table.double().mean(0)
        _, spread, rows = torch.linalg.svd(table.double() - mean, full_matrices=False)
        spread, rows = spread[: self.axes.shape[1]], rows[: self.axes.shape[1]]
        rows = rows * rows.gather(1, rows.abs().argmax(1, keepdim=True)).sign()  # signs of an SVD are arbitrary
        sigma = spread / max(len(table) - 1, 1) ** 0.5
        self.mean.copy_(mean)
        self.axes[:, : len(rows)] = (rows.T * sigma).float()
        inverse = torch.where(sigma > 1e-6 * sigma.amax().clamp(min=1e-12), 1 / sigma, 0.0)
        self.people[:, : len(rows)] = ((table.double() - mean) @ rows.T * inverse).float()
