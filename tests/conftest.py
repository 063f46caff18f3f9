"""What every room's tests share: a real actor."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from avatar_core.camera import Camera

SHIPPED = Path(__file__).parents[1] / "blend_templates" / "actors" / "robin.actor"


@pytest.fixture(scope="session")
def tiny_actor() -> Path:
    """The actor that comes with the repository: trained, and small enough for tests."""
    return SHIPPED


@pytest.fixture(scope="session")
def front_camera() -> Camera:
    """Sees the whole rest body from the front, 64 pixels square."""
    return Camera.look_at(np.array([0, -0.1, 3.2]), np.array([0, -0.2, 0]), np.radians(40), 64, 64)
