"""Every method trains, goes on with its training, and renders on a GPU as on the CPU; without one: on an emulated GPU,
with its kernels. Where tensors of two devices meet, it is an error."""

from __future__ import annotations

import re
import shutil

import pytest
import torch

from tests.pretend.script import POSSIBLE, told

pytestmark = [
    pytest.mark.skipif(torch.cuda.is_available(), reason="a real GPU is here"),
    pytest.mark.skipif(shutil.which("c++") is None, reason="needs a C++ compiler"),
    pytest.mark.skipif(not POSSIBLE, reason="needs a newer PyTorch"),
]


@pytest.mark.parametrize("kind", ["nerf_blendshape", "nerf_blendshape_paper", "npva", "human_view_synthesis"])
def test_it_trains_and_renders_where_it_is_told(kind: str) -> None:
    output = told("methods", kind)
    found = re.search(r"picture (\S+) of (\S+)\nlosses (\S+)\nkernels (\d+)", output)
    assert found, output
    apart, covered, losses, kernels = (float(value) for value in found.groups())
    assert apart < 1e-3 and covered > 0.3 and losses < 1e-3 and kernels > 1
