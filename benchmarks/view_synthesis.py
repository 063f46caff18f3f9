"""HumanViewSynthesis beside its published form, written anew: `python benchmarks/view_synthesis.py [--repeat 3]`.

The renderer alone: 108 limbs in 512 x 512 pixels, time and memory. Whole frames of both published models: joints that a
camera sees, a picture and another camera to a picture, as the released code makes every frame, against `Model.render`
with its depth, normals and limbs, whose appearance was read once. Weights and biases are random:
without biases, what is far from a person would be numbers so small that processors take many times longer for them.
Bars: the renderer 10 times faster in a tenth of the memory, frames of 256 x 256 three times faster, of 512 twice.
Writes benchmarks/results/view_synthesis_cpu.json.
"""

from __future__ import annotations

import argparse
import json
import math
import platform
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from avatar_core.body.template import load_template  # noqa: E402
from avatar_core.camera import Camera  # noqa: E402
from avatar_core.cuda.gaussians import SPREAD  # noqa: E402
from avatar_core.methods.human_view_synthesis import Config, Model  # noqa: E402
from avatar_core.methods.human_view_synthesis.decoder import network  # noqa: E402
from avatar_core.methods.human_view_synthesis.latent import latent_image  # noqa: E402
from avatar_core.methods.human_view_synthesis.primitives import Gaussians, Primitives  # noqa: E402
from avatar_core.methods.human_view_synthesis.skeleton import PANOPTIC  # noqa: E402
from avatar_core.quality import QUALITIES  # noqa: E402
from benchmarks.timing import Case, measure  # noqa: E402

RESULT = ROOT / "benchmarks" / "results" / "view_synthesis_cpu.json"
PEER = "published, torch"
FRAMES = (  # a model, its pixels, metres from the camera to the person, and how many times faster
    ("human36m17", 256, 3.0, 3.0),
    ("human36m17", 256, 1.6, None),  # fills the picture: no work is left out
    ("human36m17", 256, 6.0, 3.0),  # half as large
    ("panoptic117", 256, 3.0, 3.0),
    ("panoptic117", 512, 3.0, 2.0),
)
LESS_MEMORY = 10.0
_BINOMIAL = torch.tensor([1.0, 4.0, 6.0, 4.0, 1.0]) / 16


def cases() -> Iterator[Case]:
    yield _renderer(512)
    for frame in FRAMES:
        yield _frame(*frame)


def _renderer(side: int) -> Case:
    body = load_template()
    model = Model(Config(skeleton=PANOPTIC.name, size=16, latent=16, encoder=False, pose_width=0), body)
    joints = torch.as_tensor(model.points(model.schema.neutral()))
    joints = joints * torch.tensor([1.0, -1, -1]) + torch.tensor([0, 1, 3.0])  # three metres before a camera
    made, features = Primitives(PANOPTIC)(joints), torch.randn(108, 16)
    rays = _rays(side, 1.5 * side)
    return Case(
        "renderer",
        f"108 limbs, {side}^2",
        lambda: latent_image(rays, made, features, published=False),
        {PEER: lambda: dense(rays, made, features)},
        {PEER: 10.0},
    )


def _frame(skeleton: str, side: int, metres: float, bar: float | None) -> Case:
    torch.manual_seed(0)
    width = 2048 if skeleton == PANOPTIC.name else 1024
    config = Config(skeleton=skeleton, published=True, alpha=False, size=side, pose_width=width)
    model = Model(config, load_template()).eval().requires_grad_(False)
    model.appearance.normal_()
    for name, values in model.generator.r2i.named_parameters():
        if name.endswith("c.bias"):
            values.normal_(std=0.05)
    joints = len(config.skeleton_of().joints)
    pixels, seen = torch.rand(1, joints, 2) * 1000, torch.ones(1, joints, dtype=torch.bool)
    picture, sides = torch.rand(1, 3, 256, 256), torch.tensor([[1000, 1000]])
    camera = Camera.look_at(np.array([0, 0, metres]), np.zeros(3), 0.75, side, side)
    controls = model.schema.neutral()
    controls.pose[[16, 17], 2] = -1.1, 1.1  # stands with the arms down
    points = torch.as_tensor(model.points(controls).astype(np.float64) @ camera.world_to_camera[:3, :3].T).float()
    points = points + torch.as_tensor(camera.world_to_camera[:3, 3]).float()
    rays = _rays(config.latent, camera.K[0, 0] * config.latent / side)
    generator = model.generator

    def published() -> Tensor:
        with torch.no_grad():
            assert generator.p2p is not None and generator.i2a is not None
            generator.p2p(pixels, seen, sides)
            appearance = generator.i2a(picture)
            latent = dense(rays, generator.primitives(points), appearance[0])
            return modulated(generator.r2i, latent.permute(2, 0, 1)[None], appearance.flatten(1))

    quality = QUALITIES["final"]
    size = f"{skeleton}, {side}^2, at {metres:g} m"
    bars = {} if bar is None else {PEER: bar}
    return Case("frame", size, lambda: model.render(controls, camera, quality), {PEER: published}, bars)


def dense(rays: Tensor, made: Gaussians, features: Tensor) -> Tensor:
    """The paper's equations 43 to 85 as they stand, all limbs in all pixels: [H, W, C]."""
    length = made.axes.norm(dim=1)
    unit = made.axes / length[:, None]
    uu = unit[:, :, None] * unit[:, None]
    inverse = (torch.eye(3) - uu) / (made.widths**2)[:, None, None] + uu / (length**2)[:, None, None]
    ray = functional.normalize(functional.pad(rays, (0, 1), value=1.0), dim=-1)[:, :, None, :, None]
    centre = made.centres[:, :, None]
    of_ray = inverse @ ray  # [H, W, M, 3, 1]
    rr, rm = (ray.mT @ of_ray)[..., 0, 0], (centre.mT @ of_ray)[..., 0, 0]
    mm = (centre.mT @ inverse @ centre)[..., 0, 0]
    peak = rm / rr
    integral = 0.5 * math.sqrt(math.pi * SPREAD) / rr.sqrt() * torch.exp((-(mm - rm * rm / rr) / SPREAD).clamp(max=8))
    weight = integral / (1 + peak**4)
    farthest = 2 * peak.max()
    least = torch.minimum(length.min(), made.widths.min()) ** 2
    scale = 10 ** torch.ceil(torch.log10(least.clamp(min=1e-6)))
    background = 0.5 * torch.sqrt(math.pi * SPREAD * scale) / (1 + farthest**4)
    return weight @ features / (weight.sum(-1, keepdim=True) + background).clamp(min=1e-8)


def modulated(decoder: Any, latent: Tensor, style: Tensor) -> Tensor:
    """The decoder with weights of its own for every picture, which are modulated and demodulated."""

    def run(layer: Any, x: Tensor) -> Tensor:
        x = (_blurred(x) if layer.down else x) / layer.n.root()[:, None, None]
        conv, inputs = layer.c, layer.c.linear(style)[0]
        weight = conv.weight * conv.scale * (inputs[:, None, None, None] if conv.up else inputs[:, None, None])
        if not conv.plain:
            sides = (0, 2, 3) if conv.up else (1, 2, 3)
            weight = weight / (weight.square().sum(sides, keepdim=True).sqrt() + 1e-8)
        y = conv.convolve(x, weight, conv.bias)
        y = _blurred(y) if layer.up else y
        return y if layer.last else functional.leaky_relu(y, 0.2) * math.sqrt(2)

    return network(decoder, latent, run)


def _blurred(x: Tensor) -> Tensor:
    kernel = (_BINOMIAL[:, None] * _BINOMIAL).expand(x.shape[1], 1, 5, 5)
    return functional.conv2d(x, kernel, padding=2, groups=x.shape[1])


def _rays(side: int, focal: float) -> Tensor:
    places = (torch.arange(side) + 0.5 - side / 2) / focal
    return torch.stack(torch.meshgrid(places, places, indexing="xy"), -1)


def main() -> int:
    parser = argparse.ArgumentParser(description="HumanViewSynthesis beside its published form, on the CPU.")
    parser.add_argument("--repeat", type=int, default=3, help="turns (default 3)")
    parser.add_argument("--threads", type=int, default=2, help="of PyTorch (default 2)")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    rows, met = [], True
    for case in cases():
        row = measure(case, arguments.repeat)
        faster, bar = row.ratio(PEER), row.bars.get(PEER)
        less = row.peers_memory[PEER] / max(row.memory, 1.0)
        enough = faster >= (bar or 0) and (case.op != "renderer" or less >= LESS_MEMORY)
        met = met and enough
        ours, theirs = (row.milliseconds, row.memory), (row.peers[PEER], row.peers_memory[PEER])
        times = f"{ours[0]:.1f} ms and {ours[1]:.0f} MB, published {theirs[0]:.1f} ms and {theirs[1]:.0f} MB"
        wanted = "" if bar is None else f"; bar {bar:g}{'' if enough else ' MISSED'}"
        print(f"{row.op}, {row.size}: {times}, {faster:.1f} times faster{wanted}")
        rows.append({**vars(row), "times_faster": round(faster, 2), "bar": bar, "met": enough})
    machine = {"processor": platform.processor() or platform.machine(), "threads": arguments.threads}
    RESULT.write_text(json.dumps({"machine": machine, "rows": rows}, indent=1) + "\n", encoding="utf-8")
    return 0 if met else 1


if __name__ == "__main__":
    sys.exit(main())
