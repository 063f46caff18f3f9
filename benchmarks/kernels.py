"""How fast the kernels are on this CPU: `python benchmarks/kernels.py [--repeat 5] [--reference]`.

The hash grid: 16 levels of two features, 1M random points; both ways is forward and the table's gradient.
The closest point: 200k points in a shell of 5 cm around the free body, in random order and sorted by height.
With --reference the same work in plain PyTorch and SciPy too, on a tenth of the points, times ten. libigl is
timed beside us where it is installed. Prints the least of all repeats and writes
benchmarks/results/kernels_cpu.json; other work on the machine makes the times longer, see load_before there.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import platform
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch
from torch import Tensor

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from avatar_core.body import load_body  # noqa: E402
from avatar_core.cuda import backend  # noqa: E402
from avatar_core.cuda.closest_point import TriangleBVH  # noqa: E402
from avatar_core.cuda.hashgrid import HashGridSpec, hash_grid, hash_grid_reference  # noqa: E402
from avatar_core.cuda.threads import thread_count  # noqa: E402

RESULT = ROOT / "benchmarks" / "results" / "kernels_cpu.json"
GRID_POINTS, SURFACE_POINTS = 1_000_000, 200_000
SHELL = 0.05  # metres, one standard deviation
PART = 10  # the reference does one part in this many


def least_ms(work: Callable[[], object], repeat: int) -> float:
    work()
    times = []
    for _ in range(repeat):
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return round(min(times) * 1000, 2)


def both_ways(op: Callable[..., Tensor], points: Tensor, table: Tensor, spec: HashGridSpec) -> None:
    table = table.detach().requires_grad_()
    op(points, table, spec).sum().backward()


def hash_grids(log2_size: int, repeat: int, reference: bool) -> dict[str, float]:
    spec = HashGridSpec(16, 2, log2_size, 16, 1.38)
    points, table = torch.rand(GRID_POINTS, 3), torch.randn(spec.parameters, 2)
    name, part = f"hash grid 2^{log2_size}", points[: GRID_POINTS // PART]
    times = {
        f"{name}, forward": least_ms(lambda: hash_grid(points, table, spec), repeat),
        f"{name}, both ways": least_ms(lambda: both_ways(hash_grid, points, table, spec), repeat),
    }
    if reference:
        forward = least_ms(lambda: hash_grid_reference(part, table, spec), 1)
        both = least_ms(lambda: both_ways(hash_grid_reference, part, table, spec), 1)
        times |= {f"{name}, forward, PyTorch": forward * PART, f"{name}, both ways, PyTorch": both * PART}
    return times


def closest_points(repeat: int, reference: bool) -> dict[str, float]:
    body = load_body()
    vertices, faces = torch.tensor(body.vertices), torch.tensor(body.faces)
    corners = vertices[faces[torch.randint(0, len(faces), (SURFACE_POINTS,))]]  # [N, 3, 3]
    weights = torch.distributions.Dirichlet(torch.ones(3)).sample((SURFACE_POINTS,))
    points = (corners * weights[..., None]).sum(1) + SHELL * torch.randn(SURFACE_POINTS, 3)
    in_order = points[points[:, 1].argsort()]
    tree = TriangleBVH(vertices, faces)
    times = {
        f"tree of {len(faces)} triangles": least_ms(lambda: TriangleBVH(vertices, faces), repeat),
        "closest point": least_ms(lambda: tree.closest(points), repeat),
        "closest point, sorted by height": least_ms(lambda: tree.closest(in_order), repeat),
    }
    if importlib.util.find_spec("igl"):
        import igl

        arrays = points.double().numpy(), vertices.double().numpy(), faces.long().numpy()
        libigl = least_ms(lambda: igl.point_mesh_squared_distance(*arrays), repeat)
        times["closest point and tree, libigl"] = libigl
    if reference:
        tree._native = None
        part = points[: SURFACE_POINTS // PART]
        times["closest point, PyTorch and SciPy"] = least_ms(lambda: tree.closest(part), 1) * PART
    return times


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--repeat", type=int, default=5, help="runs; the fastest counts (default: 5)")
    parser.add_argument("--reference", action="store_true", help="time plain PyTorch and SciPy too")
    options = parser.parse_args()
    torch.manual_seed(0)
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else None
    times: dict[str, float] = {}
    for measure in (closest_points, partial(hash_grids, 14), partial(hash_grids, 19)):
        found = measure(options.repeat, options.reference)
        for name, value in found.items():
            print(f"{name:40} {value:10.1f} ms", flush=True)
        times |= found
    about = {
        "backend": backend().name,
        "threads": thread_count(),
        "torch": torch.__version__,
        "processor": platform.machine(),
        "load_before": load,  # above 0: other work shared the processor, and the times are too long
    }
    RESULT.parent.mkdir(parents=True, exist_ok=True)
    RESULT.write_text(json.dumps({"about": about, "least_ms": times}, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
