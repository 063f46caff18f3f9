"""Neural Actor keeps to the device it was moved to. Without a GPU: on one without kernels, and on an emulated one."""

from __future__ import annotations

import re

import pytest

from tests.pretend.script import POSSIBLE, told


@pytest.mark.skipif(not POSSIBLE, reason="needs a newer PyTorch")
@pytest.mark.parametrize("words", [("fast",), ("fast", "kernels"), ("published", "kernels"), ("shell",)])
def test_it_renders_and_trains_where_it_is(words: tuple[str, ...]) -> None:
    output = told("neural_actor", *words)
    found = re.match(r"picture (\S+) of (\S+)", output)
    assert found and float(found[1]) < 0.05 and float(found[2]) > 0.3, output
    assert output.count("losses") == 2
