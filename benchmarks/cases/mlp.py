"""Small networks against PyTorch: all points at once, in chunks that fit the cache, and those in bfloat16."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

import torch
from torch import Tensor, nn

from avatar_core.nn.encoding import evaluate, mlp
from benchmarks.timing import Case

POINTS = 262_144
CHUNK = 8192
SIZES = ((32, 64, 4, 3, 26.0), (32, 256, 4, 8, 672.0))  # inputs, width, outputs, hidden layers, bar in ms


def cases() -> Iterator[Case]:
    generator = torch.Generator().manual_seed(0)
    for inputs, width, outputs, layers, bar in SIZES:
        network = mlp(inputs, width, outputs, layers).requires_grad_(False)
        half = mlp(inputs, width, outputs, layers).bfloat16().requires_grad_(False)
        x = torch.randn(POINTS, inputs, generator=generator)
        peers: dict[str, Callable[[], object]] = {
            "torch": partial(network, x),
            "torch, chunks": partial(in_chunks, network, x),
            "torch, bfloat16 chunks": partial(in_chunks, half, x.bfloat16()),
        }
        size = f"{POINTS} points, {inputs} -> {width} x {layers} -> {outputs}"
        yield Case("network", size, partial(evaluate, network, x), peers, {"torch, chunks": 1.0}, bar)


def in_chunks(network: nn.Module, x: Tensor) -> Tensor:
    return torch.cat([network(part) for part in x.split(CHUNK)])
