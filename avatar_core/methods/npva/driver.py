"""From expression coefficients to a latent: a linear map, and a small network for what it misses.

The published system is driven by a texture and a mesh of every frame, which no rig has.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import leaky_relu, linear

from .encoder import LATENT, SLOPE

_CODE = LATENT[0] * LATENT[1] * LATENT[2]


class Driver(nn.Module):
    """coefficients: [C]; those outside of what training saw are clamped."""

    lowest: Tensor
    highest: Tensor

    def __init__(self, coefficients: int, width: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(_CODE, coefficients))
        self.bias = nn.Parameter(torch.zeros(_CODE))
        self.network: nn.ModuleList | None = None
        if width:
            self.network = nn.ModuleList([nn.Linear(coefficients, width), nn.Linear(width, _CODE)])
            nn.init.zeros_(self.network[1].weight)  # type: ignore[arg-type]
            nn.init.zeros_(self.network[1].bias)  # type: ignore[arg-type]
        self.register_buffer("lowest", torch.zeros(coefficients))
        self.register_buffer("highest", torch.ones(coefficients))

    def forward(self, coefficients: Tensor) -> Tensor:
        """The latent [1, 4, 8, 8]."""
        c = torch.maximum(torch.minimum(coefficients, self.highest), self.lowest)
        code = linear(c, self.weight, self.bias)
        if self.network is not None:
            hidden, out = self.network
            code = code + out(leaky_relu(hidden(c), SLOPE))
        return code.view(1, *LATENT)

    @torch.no_grad()
    def fit(self, coefficients: Tensor, latents: Tensor, ridge: float = 1e-3) -> None:
        """The linear map that gives latents [N, 4, 8, 8] for coefficients [N, C] best, by ridge regression, and the
        range of the coefficients."""
        mean, middle = coefficients.mean(0), latents.flatten(1).mean(0)
        c, z = (coefficients - mean).double(), (latents.flatten(1) - middle).double()
        normal = c.T @ c + ridge * len(c) * torch.eye(c.shape[1]).to(c)
        weight = torch.linalg.solve(normal, c.T @ z).T.to(middle)
        self.weight.copy_(weight)
        self.bias.copy_(middle - weight @ mean)
        self.set_range(coefficients.amin(0), coefficients.amax(0))

    @torch.no_grad()
    def set_range(self, lowest: Tensor, highest: Tensor) -> None:
        """Of each coefficient [K] over the training frames; others are clamped to it."""
        self.lowest.copy_(lowest)
        self.highest.copy_(highest)
