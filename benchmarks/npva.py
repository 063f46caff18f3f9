"""NPVA beside itself as published: `python benchmarks/npva.py [--size 1024 667] [--repeat 2]`.

Processor seconds of a frame of a new expression (latent, points, picture) and of a training step (2304 rays), of a head
of 1,048,576 points that nobody trained, but as dense as one that is: light ends within some millimetres. The published
configuration reads textures and meshes by its encoder, finds points by voxels and shells, and is PyTorch's alone; it
stands for the released code, which needs a GPU. Each runs in a process of its own; medians. `memory`: how many times
the search's peak grows when one point is a kilometre away.
Bars: frames 10 times, steps 5 times less. Writes benchmarks/results/npva_cpu.json.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from avatar_core.body.stand_in import stand_in  # noqa: E402
from avatar_core.camera import Camera  # noqa: E402
from avatar_core.cuda.neighbours import NeighbourGrid  # noqa: E402
from avatar_core.methods.npva import Config, Model  # noqa: E402
from avatar_core.methods.npva.space import placed_view  # noqa: E402
from avatar_core.methods.npva.surface import SIDE  # noqa: E402
from avatar_core.methods.npva.training import Lesson, learn  # noqa: E402
from avatar_core.methods.npva.vicinity import Vicinity  # noqa: E402
from avatar_core.quality import QUALITIES  # noqa: E402
from avatar_core.render.tiles import Watch  # noqa: E402

RESULT = ROOT / "benchmarks" / "results" / "npva_cpu.json"
BARS = {"frame": 10.0, "step": 5.0}
RAYS = 2304
QUALITY = QUALITIES["preview"]  # a ray a pixel


def head_map() -> torch.Tensor:
    """A position map [3, SIDE, SIDE], mm: an egg as large as a head."""
    v, u = torch.meshgrid(torch.linspace(0.02, 2.9, SIDE), torch.linspace(-3.14159, 3.11705, SIDE), indexing="ij")
    return torch.stack([80 * v.sin() * u.sin(), -125 * v.cos(), -95 * v.sin() * u.cos()])


class Subject:
    """A head in one configuration before a camera like Multiface's."""

    def __init__(self, published: bool, size: tuple[int, int]) -> None:
        torch.manual_seed(0)
        self.config = Config(published=published, opaque=True, encoder=published)
        self.model = Model(self.config, stand_in("egg", -np.full(3, 0.1), np.full(3, 0.1), "none"))
        self.model.set_positions(head_map(), 0.5)
        last = self.model.aggregator.density[-1]
        assert isinstance(last, torch.nn.Linear)
        torch.nn.init.constant_(last.bias, 2.0)
        height, width = size
        position = np.array([0, 0, 1.05])
        self.camera = Camera.look_at(position, np.zeros(3), 2 * np.arctan(1 / 5.35), width, height)
        self.texture = torch.randint(0, 256, (1, 3, 1024, 1024)).float()
        self.expression = torch.zeros(len(self.config.expressions))

    def frame(self) -> None:
        model = self.model.eval()
        model.forget()
        with torch.inference_mode():
            if model.encoder is not None:
                latent = model.encode(self.texture, head_map()[None]).mean
            else:
                latent = model.driver(self.expression)
        model.picture(latent, np.eye(4), self.camera, QUALITY, Watch())

    def lesson(self) -> Callable[[], None]:
        model = self.model.train()
        view, _ = placed_view(self.camera, np.eye(4), torch.device("cpu"))
        size = view.height, view.width
        photo, depth = torch.rand(*size, 3), torch.full(size, 960.0)
        lesson = Lesson(view, photo, head_map(), self.expression, self.texture[0], depth)
        optimizer = torch.optim.Adam(model.parameters(), 1e-3)
        pixels = torch.stack([torch.randint(side, (RAYS,)) for side in (view.width, view.height)], 1)

        def step() -> None:
            optimizer.zero_grad()
            torch.stack(list(learn(model, lesson, pixels).terms.values())).sum().backward()
            optimizer.step()

        return step


def seconds(work: Callable[[], None], repeat: int) -> float:
    """Median of processor time after one run that warms up."""
    work()
    times = []
    for _ in range(repeat):
        start = time.process_time()
        work()
        times.append(time.process_time() - start)
    return statistics.median(times)


def outlier_memory() -> float:
    """How many times the peak of memory of the search grows with a point a kilometre away."""
    points = head_map().flatten(1).T.repeat(16, 1) + 0.3 * torch.randn(16 * SIDE * SIDE, 3)
    peaks = []
    for far in (0.0, 1e6):
        points[0, 0] = far
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        NeighbourGrid(points, 4.0).query(points, 8)
        Vicinity(points, 4.0).holds(points)
        peaks.append(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
    return 1 + peaks[1] / max(peaks[0], 1)


def measure(published: bool, size: tuple[int, int], repeat: int) -> dict[str, Any]:
    subject = Subject(published, size)
    result = {"frame": seconds(subject.frame, repeat), "step": seconds(subject.lesson(), repeat)}
    return result if published else result | {"memory": outlier_memory()}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--size", type=int, nargs=2, default=(1024, 667), metavar=("H", "W"))
    parser.add_argument("--repeat", type=int, default=2, help="frames and steps that are timed (default 2)")
    parser.add_argument("--only", choices=("ours", "published"), help="what a process of its own does")
    options = parser.parse_args()
    size = tuple(options.size)
    if options.only:
        print(json.dumps(measure(options.only == "published", size, options.repeat)))
        return
    rows: dict[str, dict[str, float]] = {}
    for name, backend in (("ours", {}), ("published", {"AVATAR_BACKEND": "reference"})):
        command = [sys.executable, __file__, "--only", name, "--size", *map(str, size), "--repeat", str(options.repeat)]
        done = subprocess.run(command, check=True, capture_output=True, text=True, env=os.environ | backend)
        rows[name] = {key: round(value, 2) for key, value in json.loads(done.stdout.splitlines()[-1]).items()}
    ratios = {name: round(rows["published"][name] / rows["ours"][name], 1) for name in BARS}
    result = {
        "command": f"python benchmarks/npva.py --size {size[0]} {size[1]} --repeat {options.repeat}",
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, torch {torch.__version__}",
        "load": [round(value, 1) for value in os.getloadavg()],
        "processor_seconds": rows,
        "times_less": ratios,
        "bars": BARS,
        "bars_met": all(ratios[name] >= bar for name, bar in BARS.items()),
    }
    print(json.dumps(result, indent=1))
    RESULT.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
