"""A small set of scans, made once for all tests that need one."""

from __future__ import annotations

from pathlib import Path

import pytest

from avatar_core.body import load_body
from avatar_core.data.scans import ScanCapture
from training.scans.people import write_scans
from training.scans.prepare import prepare

COUNT, SIZE, POINTS = 2, 64, 4000


@pytest.fixture(scope="session")
def raw_scans(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("raw_scans")
    write_scans(folder, COUNT, 0.02, 3)
    return folder


@pytest.fixture(scope="session")
def scan_capture(raw_scans: Path, tmp_path_factory: pytest.TempPathFactory) -> ScanCapture:
    return prepare(raw_scans, load_body(), tmp_path_factory.mktemp("scans"), POINTS, SIZE, "CC0-1.0")
