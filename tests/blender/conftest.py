"""One Studio for each Blender: the bpy module of this Python, and those that BLENDER names."""

from __future__ import annotations

import sys
from pathlib import Path

import blenders  # beside this file
import pytest
import windows


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "studio" in metafunc.fixturenames:
        metafunc.parametrize("studio", blenders.candidates() or [""], indirect=True, scope="session", ids=_name)


def pytest_report_header() -> list[str]:
    found = blenders.candidates()
    lines = [f"Blender: {program}" for program in found] or ["Blender: NONE, the tests of the extension are skipped"]
    if not blenders.named():
        lines.append("Blender: no executable is named; BLENDER=/path/to/blender[,…] tests in installed ones")
    return lines


@pytest.fixture(scope="session")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The extension's zip."""
    sys.path.insert(0, str(blenders.ROOT))
    import build_addon

    return build_addon.build(tmp_path_factory.mktemp("package"))


@pytest.fixture(scope="session")
def studio(
    request: pytest.FixtureRequest, package: Path, tiny_actor: Path, tmp_path_factory: pytest.TempPathFactory
) -> blenders.Studio:
    if not request.param:
        pytest.skip("no Blender: neither a module bpy in this Python nor an executable in BLENDER")
    folder = tmp_path_factory.mktemp("blender")
    found = blenders.probe(request.param, folder)
    if isinstance(found, str):
        pytest.skip(found)
    return blenders.equip(found, package, Path(tiny_actor), folder)


@pytest.fixture(scope="session")
def windowed(studio: blenders.Studio) -> None:
    """Skips what needs Blender's window."""
    if studio.blender.module:
        pytest.skip("the module bpy has no window")
    if windows.missing():
        pytest.skip(f"install {', '.join(windows.missing())}")


def _name(program: str) -> str:
    return Path(program).name if program else "none"
