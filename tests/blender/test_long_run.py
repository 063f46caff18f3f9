"""A long render whose worker dies now and then; `long_run.py` alone renders a thousand frames."""

from __future__ import annotations

import blenders
import pytest

FRAMES, KILLS = 20, 2


def test_every_frame_is_right_though_the_worker_is_killed(studio: blenders.Studio) -> None:
    pytest.importorskip("OpenEXR", reason="OpenEXR reads the pictures: pip install OpenEXR")
    import long_run

    assert long_run.run(studio, FRAMES, KILLS).kills == KILLS
