"""Recorded values of the originals: a folder of $AVATAR_REFERENCE_DIR, else the trimmed copy that comes with the tests.

Weights are not stored: each tensor is a function of its published name, its shape and the salt in the recording.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

TRIMMED = Path(__file__).parents[1] / "data" / "reference"


@dataclass(frozen=True)
class Reference:
    """A recording and its companions."""

    folder: Path
    values: dict[str, np.ndarray]

    @property
    def salt(self) -> str:
        return str(self.values["salt"]) if "salt" in self.values else ""

    def __getitem__(self, name: str) -> np.ndarray:
        return self.values[name]


def load_reference(prefix: str) -> Reference:
    folder = Path(os.environ.get("AVATAR_REFERENCE_DIR") or TRIMMED)
    path = folder / f"{prefix}_reference.npz"
    if not path.exists():
        pytest.skip(f"{path} is not there")
    with np.load(path, allow_pickle=False) as stored:
        return Reference(folder, dict(stored))


@pytest.fixture(scope="session")
def neural_actor_reference() -> Reference:
    return load_reference("na")


@pytest.fixture(scope="session")
def nerf_blendshape_reference() -> Reference:
    return load_reference("nbs")


@pytest.fixture(scope="session")
def gdna_reference() -> Reference:
    return load_reference("gdna")


@pytest.fixture(scope="session")
def human_view_synthesis_reference() -> Reference:
    return load_reference("hvs")


@pytest.fixture(scope="session")
def npva_reference() -> Reference:
    return load_reference("npva")
