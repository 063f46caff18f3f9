"""The extension's zip: the same for the same sources, complete, and refused where something is wrong."""

from __future__ import annotations

import sys
import zipfile
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[2]))

import build_addon


@pytest.fixture
def staged(tmp_path: Path) -> Path:
    return build_addon.stage(tmp_path / "neural_avatars")


def test_same_sources_same_zip(tmp_path: Path) -> None:
    first, second = build_addon.build(tmp_path / "a"), build_addon.build(tmp_path / "b")
    assert first.read_bytes() == second.read_bytes()
    with zipfile.ZipFile(first) as archive:
        names = set(archive.namelist())
    assert {
        "blender_manifest.toml",
        "__init__.py",
        "LICENSE",
        "client.py",
        "protocol.py",
        "link.py",
        "rig.py",
    } <= names
    assert not [name for name in names if "__pycache__" in name or name.endswith((".pyc", ".so"))]


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ('"4.2.0"', '"4.1.0"', "below 4.2.0"),
        ('"0.1.0"', '"0.1.0.dev1"', "not semantic"),
        ('"SPDX:GPL-3.0-or-later"', '"GPL-3.0-or-later"', "must be SPDX:NAME"),
        ("tagline =", "tag_line =", "has no 'tagline'"),
        ("tags =", "tag =", "unknown key 'tag'"),
        ("into the compositor", "into the compositor.", "no full stop"),
        ("schema_version =", "schema_version", "cannot be read"),
    ],
)
def test_manifest_mistakes_are_named(staged: Path, old: str, new: str, words: str) -> None:
    path = staged / "blender_manifest.toml"
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))
    with pytest.raises(build_addon.BuildError, match=words):
        build_addon.check(staged)


@pytest.mark.parametrize(
    "line", ["import torch", "from scipy import spatial", "import avatar_core", "from .. import x"]
)
def test_what_blenders_python_lacks_is_refused(staged: Path, line: str) -> None:
    (staged / "extra.py").write_text(f"def late() -> None:\n    {line}\n")
    with pytest.raises(build_addon.BuildError, match=r"extra\.py:2"):
        build_addon.check(staged)


def test_manifest_without_a_required_key(staged: Path) -> None:
    path = staged / "blender_manifest.toml"
    path.write_text(path.read_text().replace('version = "0.1.0"\n', ""))
    with pytest.raises(build_addon.BuildError, match="has no 'version'"):
        build_addon.check(staged)


def test_unreachable_blender_is_an_error(tmp_path: Path) -> None:
    package = build_addon.build(tmp_path)
    with pytest.raises(build_addon.BuildError, match="cannot be run"):
        build_addon.validate(package, str(tmp_path / "no_blender"))
