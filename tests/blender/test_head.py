"""A head in Blender: shape keys by ARKit's names drive its expressions, an object carries it."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from avatar_core.body.expressions import EXPRESSIONS, MERGED, from_shape_keys
from avatar_core.controls import Controls, ControlSchema

if importlib.util.find_spec("bpy") is None:
    pytest.skip("bpy is not installed", allow_module_level=True)

ROOT = Path(__file__).parents[2]


def test_shape_keys_drive_expressions_and_an_object_the_head() -> None:
    schema = ControlSchema(
        expressions=EXPRESSIONS, head=True, shape_keys={**MERGED, "jawOpen": ("jawOpen", "mouthClose")}
    )
    values = {"jawOpen": 0.75, "mouthClose": 0.25, "noseSneerLeft": 0.5, "mouthSmileRight": 1.0, "unknown": 1.0}
    script = Path(__file__).with_name("head_script.py")
    code = (
        f"import sys, runpy; sys.path.insert(0, {str(ROOT)!r}); sys.argv[0] = {str(script)!r}; "
        f"runpy.run_path({str(script)!r}, run_name='__main__')"
    )
    command = [sys.executable, "-c", code, json.dumps(values), json.dumps(schema.to_dict())]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    line = next(line for line in done.stdout.splitlines() if line.startswith("REPORT "))
    controls = schema.check(Controls.from_dict(json.loads(line.removeprefix("REPORT "))))
    wanted = from_shape_keys(values, EXPRESSIONS, schema.shape_keys)
    np.testing.assert_allclose(controls.expression, wanted, atol=1e-6)
    assert wanted[EXPRESSIONS.index("noseSneer")] == 0.25 and wanted[EXPRESSIONS.index("jawOpen")] == 0.5
    assert controls.head is not None
    np.testing.assert_allclose(controls.head[:3, 3], [0.1, 0.3, 0.2], atol=1e-6)  # y up
