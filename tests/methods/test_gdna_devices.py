"""gDNA shows, learns and fits on a GPU what it does on the CPU. Without a GPU: on an emulated one."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch.utils.backend_registration as registration

NEAR = {"surface colours": 1e-3, "rig normals": 1e-3}  # of normals, which differ more than the places that they are of


@pytest.mark.skipif(
    not hasattr(registration, "_setup_privateuseone_for_python_backend") or shutil.which("c++") is None,
    reason="needs a newer PyTorch and a compiler",
)
@pytest.mark.parametrize(
    ("case", "kernels"), [("shown", {"raster_draw"}), ("learnt", {"raster_draw", "broyden_roots"})]
)
def test_it_is_the_same_as_on_the_cpu(case: str, kernels: set[str], tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tests.pretend.gdna", case, str(tmp_path)],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, "\n".join(
        line for line in done.stderr.splitlines()[-40:] if "registered at" not in line
    )
    *differences, started = done.stdout.splitlines()
    assert kernels <= set(started.split())
    found = {name: float(value) for name, value in (line.rsplit(" ", 1) for line in differences if line[-1].isdigit())}
    assert len(found) > 15
    for name, value in found.items():
        assert value < NEAR.get(name, 1e-4), f"{name}: {value}"
