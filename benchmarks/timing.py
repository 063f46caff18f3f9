"""Fair times: ours and its peers turn by turn in one process, so that whatever slows one slows all."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

Work = Callable[[], object]


@dataclass(frozen=True)
class Case:
    """One row of the table.

    op: what is done. size: to how much. ours: the call to time. peers: the same work by others, by name.
    bars: for some peers, how many times faster ours must be. fixed: a bar in milliseconds that is not a peer's,
    measured with our quick sources on the machine of the first measurements.
    """

    op: str
    size: str
    ours: Work
    peers: Mapping[str, Work] = field(default_factory=dict)
    bars: Mapping[str, float] = field(default_factory=dict)
    fixed: float | None = None


@dataclass(frozen=True)
class Row:
    """A measured case: medians in milliseconds, the growth of the peak of memory in MB."""

    op: str
    size: str
    milliseconds: float
    memory: float
    peers: dict[str, float]
    peers_memory: dict[str, float]
    bars: dict[str, float]
    fixed: float | None

    def ratio(self, peer: str) -> float:
        """How many times faster ours is."""
        return self.peers[peer] / self.milliseconds


def measure(case: Case, repeat: int) -> Row:
    """The median of `repeat` turns, after one that warms up and is watched for memory."""
    works = {"": case.ours, **case.peers}
    memory = {name: _peak_growth(work) for name, work in works.items()}
    times: dict[str, list[float]] = {name: [] for name in works}
    for _ in range(repeat):
        for name, work in works.items():
            start = time.perf_counter()
            work()
            times[name].append(1e3 * (time.perf_counter() - start))
    medians = {name: statistics.median(values) for name, values in times.items()}
    return Row(
        case.op,
        case.size,
        medians.pop(""),
        memory.pop(""),
        medians,
        memory,
        dict(case.bars),
        case.fixed,
    )


def _peak_growth(work: Work) -> float:
    """MB by which the process's resident memory rises at most during the call; NaN outside of Linux."""
    reset, status = Path("/proc/self/clear_refs"), Path("/proc/self/status")
    try:
        reset.write_text("5")
        before = _field(status, "VmRSS")
        work()
        return (_field(status, "VmHWM") - before) / 1024
    except OSError:
        work()
        return float("nan")


def _field(status: Path, name: str) -> int:
    """A figure in kB of /proc/self/status."""
    return next(int(line.split()[1]) for line in status.read_text().splitlines() if line.startswith(name + ":"))
