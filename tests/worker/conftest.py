"""Workers with pretended actors in real processes."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from avatar_core.worker.client import Worker

FAKE = [sys.executable, "-I", str(Path(__file__).with_name("fake_worker.py"))]
CAMERA = {
    "width": 16,
    "height": 9,
    "K": [10, 0, 8, 0, 10, 4.5, 0, 0, 1],
    "world_to_camera": [1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1],
}


def wait_until(condition: Callable[[], bool], seconds: float) -> bool:
    """Whether `condition` came true in time."""
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            return False
        time.sleep(0.02)
    return True


@pytest.fixture
def start() -> Iterator[Callable[..., Worker]]:
    """start(command=FAKE, **options) gives a Worker that is closed after the test."""
    workers = []

    def make(command: list[str] = FAKE, **options: Any) -> Worker:
        workers.append(Worker(command, **options))
        return workers[-1]

    yield make
    for worker in workers:
        worker.close()


@pytest.fixture
def order(tmp_path: Path) -> Callable[..., dict[str, Any]]:
    """order(crash=3) gives a render request for an actor that crashes with code 3; see fake_worker.py."""
    made: list[Path] = []

    def make(x: float = 0.0, **orders: Any) -> dict[str, Any]:
        path = tmp_path / f"fake{len(made)}.actor"
        path.write_text(json.dumps(orders))
        made.append(path)
        return {
            "type": "render",
            "actor": str(path),
            "controls": {"transl": [x, 0, 0]},
            "camera": CAMERA,
            "quality": "draft",
        }

    return make
