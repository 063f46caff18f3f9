"""The rig that Blender builds moves like avatar_core does. bpy has a process of its own: it can hang at
exit."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import pytest

from avatar_core.body import load_body

if importlib.util.find_spec("bpy") is None:
    pytest.skip("bpy is not installed", allow_module_level=True)

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def report() -> dict:
    script = Path(__file__).with_name("rig_script.py")
    command = [sys.executable, "-c", f"import sys, runpy; sys.path.insert(0, {str(ROOT)!r}); "
               f"runpy.run_path({str(script)!r}, run_name='__main__')"]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    line = next(line for line in done.stdout.splitlines() if line.startswith("REPORT "))
    return json.loads(line.removeprefix("REPORT "))


@pytest.mark.parametrize("motion", ["squat", "wave", "jump"])
def test_blender_deforms_like_our_skinning(report: dict, motion: str) -> None:
    assert report[motion] < 1e-4  # metres


def test_shape_keys_and_fitted_bones_move_like_betas_and_expressions(report: dict) -> None:
    assert report["shaped"] < 1e-4


def test_rig_speaks_smpl(report: dict) -> None:
    body = load_body()
    assert set(report["bones"]) == set(body.joint_names)
    assert report["axes"] < 1e-6  # a bone's quaternion is SMPL's rotation
    assert report["up"] == pytest.approx([0, 0, 1], abs=1e-6)
    assert report["uv"] == 3 * len(body.faces)


def test_sliders(report: dict) -> None:
    keys = report["keys"]
    assert len(keys) == 1 + 10 + 52
    assert keys["beta_00"] == [-5, 5]
    assert keys["expr_jawOpen"] == [0, 1]
