"""How fast the kernels are beside others: `python benchmarks/kernels.py [--repeat 5] [--only OP]`.

Times every case of benchmarks/cases/ with its peers, turn by turn in one process; peers that are not installed are left
out. Prints a table and writes benchmarks/results/kernels_cpu.json, or kernels_cuda.json where there is a GPU. Other
work on the machine makes all times longer; see load_before there, and trust the ratios.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import platform
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from avatar_core.cuda import backend  # noqa: E402
from avatar_core.cuda.threads import thread_count  # noqa: E402
from benchmarks.timing import Case, Row, measure  # noqa: E402

RESULTS = ROOT / "benchmarks" / "results"


def cases(only: str) -> Iterator[Case]:
    """Of the files whose name, or of the ops whose name, contains `only`."""
    for path in sorted((ROOT / "benchmarks" / "cases").glob("[!_]*.py")):
        for case in importlib.import_module(f"benchmarks.cases.{path.stem}").cases():
            if only in path.stem or only in case.op:
                yield case


def lines(row: Row) -> Iterator[str]:
    """The op's own line, and one a peer: time, memory, ratio, bar, and whether it is met."""
    bar = "" if row.fixed is None else f"{row.fixed:8.2f} ms  {_verdict(row.milliseconds <= row.fixed)}"
    yield f"{row.op}, {row.size:44} {row.milliseconds:10.2f} ms {row.memory:8.1f} MB  {bar}".rstrip()
    for name, time in row.peers.items():
        ratio = row.ratio(name)
        bar = f"{row.bars[name]:7.1f}x  {_verdict(ratio >= row.bars[name])}" if name in row.bars else ""
        yield f"    {name:20} {time:10.2f} ms {row.peers_memory[name]:8.1f} MB  {ratio:7.1f}x {bar}".rstrip()


def document(rows: list[Row], load: float | None) -> dict[str, Any]:
    gpu = torch.cuda.is_available()
    about = {
        "backend": backend("cuda" if gpu else "cpu").name,
        "device": torch.cuda.get_device_name() if gpu else platform.machine(),
        "threads": thread_count(),
        "torch": torch.__version__,
        "load_before": load,  # above 0: other work shared the processor, and the times are too long
    }
    return {
        "about": about,
        "rows": [{**vars(row), "ratios": {name: row.ratio(name) for name in row.peers}} for row in rows],
    }


def _verdict(met: bool) -> str:
    return "ok" if met else "short"


def _finite(value: Any) -> Any:
    """Rounded; NaN, which JSON has not, as None."""
    if isinstance(value, dict):
        return {key: _finite(entry) for key, entry in value.items()}
    if isinstance(value, list):
        return [_finite(entry) for entry in value]
    if isinstance(value, float):
        return round(value, 3) if value == value else None
    return value


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--repeat", type=int, default=5, help="turns; the median counts (default: 5)")
    parser.add_argument("--only", default="", metavar="OP", help="ops whose name contains this; writes no results")
    options = parser.parse_args()
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else None
    rows = []
    for case in cases(options.only):
        rows.append(measure(case, options.repeat))
        print("\n".join(lines(rows[-1])), flush=True)
    if not options.only:
        path = RESULTS / f"kernels_{'cuda' if torch.cuda.is_available() else 'cpu'}.json"
        path.write_text(json.dumps(_finite(document(rows, load)), indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
