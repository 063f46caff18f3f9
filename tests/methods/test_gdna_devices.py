"""gDNA shows, learns and fits on a GPU what it does on the CPU. Without a GPU: on an emulated one."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.pretend.script import POSSIBLE, told

NEAR = {"surface colours": 1e-3, "rig normals": 1e-3}  # of normals, which differ more than the places that they are of


@pytest.mark.skipif(
    not POSSIBLE or shutil.which("c++") is None,
    reason="needs a newer PyTorch and a compiler",
)
@pytest.mark.parametrize(
    ("case", "kernels"), [("shown", {"raster_draw"}), ("learnt", {"raster_draw", "broyden_roots"})]
)
def test_it_is_the_same_as_on_the_cpu(case: str, kernels: set[str], tmp_path: Path) -> None:
    *differences, started = told("gdna", case, str(tmp_path)).splitlines()
    assert kernels <= set(started.split())
    found = {name: float(value) for name, value in (line.rsplit(" ", 1) for line in differences if line[-1].isdigit())}
    assert len(found) > 15
    for name, value in found.items():
        assert value < NEAR.get(name, 1e-4), f"{name}: {value}"
