"""Searching, extracting and posing gDNA's people beside the published algorithms: `python benchmarks/gdna.py`.

The published ones are those of tests/conformance/record_gdna.py in single precision: all iterates of the search in one
batch of the networks, PyTorch's softplus, marching cubes through a whole grid in double precision. Turn by turn in one
process; times are the processor's, over all threads, so that what else runs on the machine counts little; the least of
some turns. Weights are those of a recording (AVATAR_REFERENCE_DIR, else the trimmed one of the tests).
Bars: the search 50 times faster, extraction at 256 cells 4 times, 100 000 vertices posed in 30 ms. The original's own
code took 8.8 s for that extraction on two cores.
Writes benchmarks/results/gdna_cpu.json.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from skimage.measure import marching_cubes

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from avatar_core.body import load_body  # noqa: E402
from avatar_core.cuda.broyden import find_roots  # noqa: E402
from avatar_core.methods.gdna.body import STARTS, SmplBody  # noqa: E402
from avatar_core.methods.gdna.extraction import Box, extract, largest_piece  # noqa: E402
from avatar_core.methods.gdna.field import Networks  # noqa: E402
from avatar_core.methods.gdna.posing import PersonMesh, bake, volume  # noqa: E402
from avatar_core.methods.gdna.search import search_voxels  # noqa: E402
from benchmarks.timing import Case  # noqa: E402
from tests.conformance.record_gdna import Subject  # noqa: E402
from tests.conformance.weights import gdna  # noqa: E402

RESULT = ROOT / "benchmarks" / "results" / "gdna_cpu.json"
POINTS, VERTICES = 2048, 100_000


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--resolution", type=int, default=256, help="cells a side of the extraction")
    arguments = parser.parse_args()
    report: dict[str, Any] = {
        "command": f"python benchmarks/gdna.py --repeat {arguments.repeat} --resolution {arguments.resolution}",
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, torch {torch.__version__}",
        "threads": torch.get_num_threads(),
        "load": [round(value, 1) for value in os.getloadavg()],
    }
    with torch.inference_mode():
        for case in cases(arguments.resolution):
            times = milliseconds({"ours": case.ours, **case.peers}, arguments.repeat)
            report[case.op] = {"size": case.size, "cpu_ms": times}
            for name, bar in case.bars.items():
                report[case.op][f"times_faster_than_{name}"] = round(times[name] / times["ours"], 1)
                report[case.op]["bar"] = bar
            if case.fixed is not None:
                report[case.op]["bar_ms"] = case.fixed
            print(case.op, report[case.op], flush=True)
    RESULT.write_text(json.dumps(report, indent=1) + "\n")
    return 0


def milliseconds(works: dict[str, Callable[[], object]], repeat: int) -> dict[str, float]:
    """Of the processor, over all threads: the least of `repeat` turns after one that warms up."""
    times: dict[str, list[float]] = {name: [] for name in works}
    for turn in range(repeat + 1):
        for name, work in works.items():
            start = time.process_time()
            work()
            if turn:
                times[name].append(1e3 * (time.process_time() - start))
    return {name: round(min(values), 2) for name, values in times.items()}


def published_extraction(logits: Callable[[torch.Tensor], torch.Tensor], box: Box) -> None:
    """MISE: all corners of cells with corners on both sides, round by round; the rest repeats what is before it."""
    sides = [(side >> box.rounds) + 1 for side in box.cells]
    values, known, wanted = np.zeros(sides), np.zeros(sides, bool), np.ones(sides, bool)
    for level in range(box.rounds + 1):
        if level:
            crossed = _touched(values) & _touched(-values)
            for axis in range(3):
                values, crossed = values.repeat(2, axis), crossed.repeat(2, axis)
            values = values[:-1, :-1, :-1].copy()
            even, known, wanted = known, np.zeros(values.shape, bool), np.zeros(values.shape, bool)
            known[::2, ::2, ::2] = even
            for shift in np.ndindex(2, 2, 2):
                wanted[tuple(slice(s, s + n) for s, n in zip(shift, crossed.shape))] |= crossed
        index = np.argwhere(wanted & ~known)
        points = torch.as_tensor(box.low + index * (box.cell * 2 ** (box.rounds - level)), dtype=torch.float32)
        values[tuple(index.T)] = torch.cat([logits(part) for part in points.split(10_000)]).double().numpy()
        known |= wanted
    vertices, faces, _, _ = marching_cubes(values, 0.0, gradient_direction="ascent")
    largest_piece(vertices, faces)


def _touched(values: np.ndarray) -> np.ndarray:
    """Cells with a corner at or below 0."""
    corners = [values[tuple(slice(s, s + n - 1) for s, n in zip(shift, values.shape))] for shift in np.ndindex(2, 2, 2)]
    return np.logical_or.reduce([corner <= 0 for corner in corners])


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
    crowd = torch.cat([mesh.faces + number * len(mesh.neutral) for number in range(share)])
    large = PersonMesh(mesh.neutral.repeat(share, 1), crowd, mesh.weights.repeat(share, 1), mesh.features[:0])

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
            {"published": lambda: published_extraction(whole, box)},
            {"published": 4.0},
        ),
        Case("posing", f"{len(large.neutral)} vertices", lambda: large.posed(large.neutral, bones, None), fixed=30.0),
    ]


if __name__ == "__main__":
    sys.exit(main())
