"""One training step's losses, of one picture (NPVA, section 3.5).

With an encoder, a frame's texture and position map make its latent, as published; without, its coefficients do.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from . import losses
from .model import Model
from .renderer import Cloud, Samples
from .surface import position_map
from .view import View


@dataclass(frozen=True)
class Lesson:
    """A frame before a camera. All millimetres, in the head's own frame.

    view: the camera. photo: [H, W, 3] in [0, 1]. positions: the position map [3, SIDE, SIDE] of the tracked mesh.
    expression: [C] coefficients. texture: [3, 1024, 1024] in 0..255, for models with an encoder. depth: [H, W]
    measured, 0 where unknown. mask: [H, W] coverage; photo is black outside of it. tracked: [SIDE * SIDE] 1 where the
    mesh is to be followed, 0 in the mouth.
    """

    view: View
    photo: Tensor
    positions: Tensor
    expression: Tensor
    texture: Tensor | None = None
    depth: Tensor | None = None
    mask: Tensor | None = None
    tracked: Tensor | None = None


@dataclass(frozen=True)
class Outcome:
    """terms: weighted losses by name, whose sum is minimised. errors: [N] of the pixels' colours, for the error map."""

    terms: dict[str, Tensor]
    errors: Tensor


def learn(
    model: Model, lesson: Lesson, pixels: Tensor, patch: Callable[[Tensor, Tensor], Tensor] | None = None
) -> Outcome:
    """pixels: [N, 2] int64 x, y. patch: of pixels that are a square, row by row: the perceptual distance of [N, 3]
    rendered and captured."""
    config, view = model.config, lesson.view
    terms: dict[str, Tensor] = {}
    if model.encoder is None:
        z = model.driver(lesson.expression)
    else:
        assert lesson.texture is not None, "an encoder reads textures"
        latent = model.encode(lesson.texture[None], lesson.positions[None])
        terms["kl"] = losses.divergence(latent)
        z = latent.sample()
    maps, head = model.decode_maps(z)
    if maps.displacements is not None:
        terms["displacement"] = losses.displacement(maps.displacements)
    terms["mesh"] = losses.mesh(head.vertices, lesson.positions.flatten(1).T, lesson.tracked)
    terms["smoothness"] = losses.smoothness(position_map(head.vertices))

    surface = view.depth_map(head.vertices, model.faces(), flat=config.published)
    x, y = pixels.T
    directions = view.directions(pixels + 0.5)
    jitter = torch.rand(len(pixels), config.samples, device=pixels.device)
    near, distances = view.distances(directions, surface, pixels, config, jitter)
    samples = Samples.along(view.origin, directions[near], distances, view.rotation)
    found = Cloud(head, model.aggregator, config).render(samples)
    colour = torch.zeros(len(pixels), 3).to(found.colour).index_put((near,), found.colour)
    captured = lesson.photo[y, x]
    if lesson.mask is not None and not (config.opaque or config.published):
        mask = lesson.mask[y, x]
        coverage = torch.zeros_like(colour[:, 0]).index_put((near,), found.coverage)
        terms["mask"] = (coverage - mask).abs().mean()
        backdrop = torch.rand(3, device=pixels.device)  # dark hair is not to be told from black seen through it
        colour = colour + (1 - coverage)[:, None] * backdrop
        captured = captured + (1 - mask)[:, None] * backdrop
    terms["rgb"] = losses.colour(colour, captured)
    if lesson.depth is not None:
        measured = lesson.depth[y, x]
        seen = found.depth / found.coverage.clamp(min=1e-3)
        depth = torch.zeros_like(measured).index_put((near,), torch.where(found.coverage > 0.5, seen, 0.0))
        terms["depth"] = losses.depth(depth, measured)
        terms["surface_depth"] = losses.depth(surface[y, x], measured)
    if patch is not None:
        terms["perceptual"] = patch(colour, captured)
    weighted = {name: losses.WEIGHTS[name] * term for name, term in terms.items()}
    return Outcome(weighted, (colour - captured).detach().norm(dim=1))
