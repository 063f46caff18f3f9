"""How long a frame takes from the worker to Blender: `python benchmarks/transport.py [--repeat 15]`.

A full 1920 x 1080 frame (rgba, depth, normal and mask, float32, 74.6 MB) and one cropped to a standing
figure, over the worker's pipe, beside two yardsticks in the same run: copying the same bytes once in memory,
and sending them with `multiprocessing.Pipe` and pickle, as add-ons with a worker in Python commonly do.
Writes benchmarks/results/transport.json.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import platform
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from avatar_core.frame import Frame  # noqa: E402
from avatar_core.worker.actors import ActorCache  # noqa: E402
from avatar_core.worker.client import Worker  # noqa: E402
from avatar_core.worker.server import Server, take_stdio  # noqa: E402

SIZE = (1920, 1080)
FIGURE = (760, 90, 400, 900)  # x, y, width, height of a standing figure in a medium shot
RESULT = ROOT / "benchmarks" / "results" / "transport.json"


class Picture:
    """An actor whose frame is ready, so that only the way to Blender is measured."""

    def __init__(self, name: str) -> None:
        self.frame = picture(name)

    def render(self, controls, camera, quality, cancel, progress) -> Frame:
        return self.frame

    def proxy_mesh(self, controls) -> tuple[np.ndarray, np.ndarray]:
        return np.zeros((1, 3)), np.zeros((0, 3))


class Bench(Server):
    def describe(self) -> dict[str, str]:
        return {"device": "none"}


def picture(name: str) -> Frame:
    frame = Frame.empty(*SIZE)
    x, y, width, height = FIGURE if name == "figure" else (0, 0, *SIZE)
    frame.mask[y : y + height, x : x + width] = 1
    frame.rgba[y : y + height, x : x + width] = 0.5
    return frame


def clock(run: Callable[[], object], repeat: int) -> dict[str, float]:
    """Milliseconds."""
    run(), run()
    times = []
    for _ in range(repeat):
        began = time.perf_counter()
        run()
        times.append((time.perf_counter() - began) * 1e3)
    return {"median": round(statistics.median(times), 3), "best": round(min(times), 3)}


def serve() -> None:
    readinto, write = take_stdio()
    Bench(readinto, write, ActorCache(4, lambda path, device: Picture(path.stem))).serve()


def pickling_peer(connection: Connection) -> None:
    frame = picture("full")
    planes = {"rgba": frame.rgba, "depth": frame.depth, "normal": frame.normal, "mask": frame.mask}
    while connection.recv():
        connection.send(planes)


def measure(repeat: int) -> dict[str, dict[str, float]]:
    camera = {
        "width": SIZE[0],
        "height": SIZE[1],
        "K": [1000, 0, 960, 0, 1000, 540, 0, 0, 1],
        "world_to_camera": np.eye(4).ravel().tolist(),
    }
    frame = picture("full")
    sources = [frame.rgba, frame.depth, frame.normal, frame.mask]
    targets = [np.ones_like(plane) for plane in sources]
    results = {"memcpy_full": clock(lambda: [np.copyto(a, b) for a, b in zip(targets, sources)], repeat)}
    worker = Worker([sys.executable, "-I", str(Path(__file__).resolve()), "--serve"])
    with tempfile.TemporaryDirectory() as folder:
        for name in ("full", "figure"):
            path = Path(folder, name + ".actor")
            path.touch()
            request = {"actor": str(path), "controls": {}, "camera": camera}
            render = {**request, "type": "render"}
            proxy = {**request, "type": "proxy"}
            if name == "full":
                results["round_trip"] = clock(lambda m=proxy: worker.request(m), repeat * 10)
            results[f"worker_{name}"] = clock(lambda m=render: worker.request(m), repeat)
            results[f"worker_{name}_restored"] = clock(lambda m=render: Worker.full(worker.request(m)), repeat)
    worker.close()
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    peer = context.Process(target=pickling_peer, args=(theirs,))
    peer.start()
    results["multiprocessing_pickle_full"] = clock(lambda: (ours.send(True), ours.recv()), repeat)
    ours.send(False)
    peer.join()
    return results


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeat", type=int, default=15)
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        serve()
        return
    width, height = SIZE
    document = {
        "frame": {"width": width, "height": height, "megabytes": width * height * 36 / 1e6, "figure": FIGURE},
        "repeat": options.repeat,
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores",
        "load": round(os.getloadavg()[0], 1) if hasattr(os, "getloadavg") else None,
        "milliseconds": measure(options.repeat),
    }
    RESULT.write_text(json.dumps(document, indent=1) + "\n")
    print(json.dumps(document, indent=1))


if __name__ == "__main__":
    main()
