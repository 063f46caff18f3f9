"""Searching, extracting and posing gDNA's people beside the published algorithms: `python benchmarks/gdna.py`.

The published ones are those of tests/conformance/record_gdna.py in single precision: all iterates of the search in one
batch of the networks, PyTorch's softplus. Turn by turn in one process; medians. Weights are
those of a recording (AVATAR_REFERENCE_DIR, else the trimmed one of the tests).
Bars: the search 50 times faster, extraction at 256 cells 4 times, 100 000 vertices posed in 30 ms.
Writes benchmarks/results/gdna_cpu.json.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from avatar_core.body import load_body  # noqa: E402
from avatar_core.cuda.broyden import find_roots  # noqa: E402
from avatar_core.methods.gdna.body import STARTS, SmplBody  # noqa: E402
from avatar_core.methods.gdna.extraction import Box, extract  # noqa: E402
from avatar_core.methods.gdna.field import Networks  # noqa: E402
from avatar_core.methods.gdna.posing import PersonMesh, bake, volume  # noqa: E402
from avatar_core.methods.gdna.search import search_voxels  # noqa: E402
from benchmarks.timing import Case, measure  # noqa: E402
from tests.conformance.record_gdna import Subject  # noqa: E402
from tests.conformance.weights import gdna  # noqa: E402

RESULT = ROOT / "benchmarks" / "results" / "gdna_cpu.json"
POINTS, VERTICES = 2048, 100_000


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeat", type=int, default=5)
    parser.add_argument("--resolution", type=int, default=256, help="cells a side of the extraction")
    arguments = parser.parse_args()
    with torch.inference_mode():
        rows = [measure(case, arguments.repeat) for case in cases(arguments.resolution)]
    report: dict[str, Any] = {"machine": platform.processor() or platform.machine(), "threads": torch.get_num_threads()}
    for row in rows:
        bars = {name: f"{row.ratio(name):.1f} x (bar {bar:g})" for name, bar in row.bars.items()}
        limit = "" if row.fixed is None else f" (bar {row.fixed:g} ms)"
        print(f"{row.op}, {row.size}: {row.milliseconds:.1f} ms{limit} {bars or ''}")
        report[row.op] = {"size": row.size, "ms": round(row.milliseconds, 2), "peers_ms": row.peers, "bars": row.bars}
    RESULT.write_text(json.dumps(report, indent=1) + "\n")
    return 0


def cases(resolution: int) -> list[Case]:
    folder = Path(os.environ.get("AVATAR_REFERENCE_DIR") or ROOT / "tests" / "data" / "reference")
    with np.load(folder / "gdna_reference.npz") as file:
        given = {name: torch.as_tensor(file[name]) for name in file.files if file[name].dtype == np.float32}
        salt = str(file["salt"])
    with np.load(folder / "gdna_reference_weights_core.npz") as file:
        stored = {name: file[name] for name in file.files if not name.startswith("z_")}
    first = stored.get("norm_network.lin0.weight_v")
    networks = Networks(0 if first is None else (first.shape[1] - 296) // 6).requires_grad_(False)
    state = {
        name: torch.as_tensor(stored[name] if name in stored else gdna(name, tuple(value.shape), salt))
        for name, value in networks.state_dict().items()
    }
    networks.load_state_dict(state)
    body, parameters = SmplBody(load_body(folder / "smpl_synth.npz")), given["in.smpl_params"][0]
    code, betas, bones = given["in.z_shape"][0], parameters[76:], body.from_parameters(parameters).bones
    person = networks.person(code, betas)
    published = Subject(state, 0, code, given["in.z_detail"][0], betas, bones)
    vertices = body.canonical(betas).vertices
    points = given["in.pts_posed"][0]
    points = points.repeat(-(-POINTS // len(points)), 1)[:POINTS]
    grid, inverse = volume(bake(person, vertices), bones, vertices), torch.linalg.inv(bones[list(STARTS)])
    box = Box.published(vertices.numpy(), resolution)
    mesh = PersonMesh.of(person, Box.published(vertices.numpy(), 32))
    share = -(-VERTICES // len(mesh.neutral))
    large = PersonMesh(
        mesh.neutral.repeat(share, 1)[:VERTICES],
        torch.randint(VERTICES, (2 * VERTICES, 3)),
        mesh.weights.repeat(share, 1)[:VERTICES],
        mesh.features[:0],
    )

    def whole(x: torch.Tensor) -> torch.Tensor:
        return published.occupancy(published.neutral(x))[0][:, 0]

    size = f"{POINTS} points from 9 starts"
    return [
        Case(
            "search on voxels",
            size,
            lambda: find_roots(points, grid, inverse, 10),
            {"published": lambda: published.search(points, 10, False)},
            {"published": 50.0},
        ),
        Case(
            "search ended on the networks",
            size,
            lambda: search_voxels(points, person.weights, bones, grid),
            {"published": lambda: published.search(points, 10, False)},
            fixed=50.0,
        ),
        Case(
            "extraction",
            f"{resolution} cells a side",
            lambda: extract(lambda x: person.occupancy(person.neutral(x))[0], box),
            {"published": lambda: extract(whole, box)},
            {"published": 4.0},
        ),
        Case("posing", f"{VERTICES} vertices", lambda: large.posed(large.neutral, bones, None), fixed=30.0),
    ]


if __name__ == "__main__":
    sys.exit(main())
