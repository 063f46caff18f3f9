"""The renderer that the extension installs by itself: it renders, and a failure leaves the one before it in use."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import sysconfig
import tomllib
import zipfile
from pathlib import Path

import blenders
import pytest
import windows

sys.path.insert(0, str(blenders.ROOT))
import build_addon

_WHEEL = "from setuptools import build_meta; import sys; print(build_meta.build_wheel(sys.argv[1]))"


@pytest.fixture(scope="module")
def shelf(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A wheel of avatar_core, and one of each package that it needs. Theirs are stand-ins that lead to this Python's
    packages, because a real PyTorch takes minutes to fetch; what pip resolves and installs is real otherwise."""
    folder, sources = tmp_path_factory.mktemp("shelf"), tmp_path_factory.mktemp("sources") / "clone"
    for name in ("avatar_core", "training", "blend_templates", "blender_addon"):
        shutil.copytree(blenders.ROOT / name, sources / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "MANIFEST.in", "build_addon.py", "README.md", "LICENSE"):
        shutil.copyfile(blenders.ROOT / name, sources / name)
    done = subprocess.run([sys.executable, "-c", _WHEEL, str(folder)], cwd=sources, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    project = tomllib.loads((blenders.ROOT / "pyproject.toml").read_text())["project"]
    for need in project["dependencies"]:
        name, version = need.split(">=")[0], need.split(">=")[1].split(",")[0]
        _stand_in(folder, name, version)
    return folder


def fresh(studio: blenders.Studio, shelf: Path, tmp_path: Path) -> blenders.Studio:
    """A home with the extension that carries the wheel, and nothing else."""
    (wheel,) = shelf.glob("avatar_core-*.whl")
    return blenders.equip(studio.blender, build_addon.build(tmp_path / "zip", wheel), studio.actor, tmp_path)


def test_the_button_installs_a_renderer(studio: blenders.Studio, shelf: Path, tmp_path: Path) -> None:
    if not studio.blender.module:
        pytest.skip("the packages of the tests are for this Python, the button takes another one there")
    studio = fresh(studio, shelf, tmp_path)
    pip = {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(shelf), "PIP_EXTRA_INDEX_URL": "", "PIP_CONFIG_FILE": "/dev/null"}
    done = studio.script("install", str(studio.actor), json.dumps(pip), worker="")
    line = next((line for line in done.stdout.splitlines() if line.startswith("INSTALL ")), None)
    assert line is not None, done.stdout + done.stderr
    told = json.loads(line.removeprefix("INSTALL "))
    home = studio.folder / "home"
    assert told["before"] and not told["offline"], "nothing is there, and nothing is fetched without leave"
    assert told["result"] == ["FINISHED"] and told["loaded"] == ["FINISHED"]
    assert told["status"].startswith("avatar-core") and Path(told["command"][0]).is_relative_to(home)
    log = next(home.rglob("install.log"))
    assert "Could not find a version that satisfies the requirement" in told["error"] and str(log) in told["error"], (
        told["error"]
    )
    assert told["after"] == told["command"], "the failure changed nothing"
    assert told["left"] == [Path(told["command"][0]).parents[1].name, "install.log"]


@pytest.mark.parametrize("text", ["wheel", "avatar_core-0.1.0-py3-none-any.whl"])
def test_only_wheels_of_ours_are_carried(tmp_path: Path, text: str) -> None:
    (tmp_path / text).write_text("no archive")
    with pytest.raises(build_addon.BuildError, match="is no wheel of avatar_core"):
        build_addon.build(tmp_path / "zip", tmp_path / text)


def test_esc_leaves_nothing(studio: blenders.Studio, windowed: None, shelf: Path, tmp_path: Path) -> None:
    """In Blender's window, with a Python that takes its time."""
    studio = fresh(studio, shelf, tmp_path)
    slow = studio.folder / "bin" / "python3.12"
    slow.parent.mkdir()
    slow.write_text(
        '#!/bin/sh\ncase "$*" in *ensurepip*) echo 3 12;; *) echo "Collecting torch"; exec sleep 600;; esac\n'
    )
    slow.chmod(0o755)
    with windows.window(studio, "install_window") as window:
        assert "Collecting torch" in window.wait_for("installing")
        window.press("Escape")
        assert json.loads(window.wait_for("cancelled")) == {"left": ["install.log"], "missing": True}


def _stand_in(folder: Path, name: str, version: str) -> None:
    """A wheel that adds this Python's packages to whoever installs it."""
    label = f"{name}-{version}"
    with zipfile.ZipFile(folder / f"{label}-py3-none-any.whl", "w") as wheel:
        wheel.writestr(f"{name}_elsewhere.pth", sysconfig.get_path("purelib"))
        wheel.writestr(f"{label}.dist-info/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
        wheel.writestr(
            f"{label}.dist-info/WHEEL", "Wheel-Version: 1.0\nGenerator: x\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        wheel.writestr(f"{label}.dist-info/RECORD", "")
