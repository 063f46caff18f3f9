"""A wheel brings kernels to a machine without any compiler, and the extension's zip drives a worker there."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

from avatar_core.cuda import build

ROOT = Path(__file__).parents[2]
PACKAGES = "avatar_core", "training", "blend_templates", "blender_addon"
FILES = "pyproject.toml", "MANIFEST.in", "package_build.py", "build_addon.py", "README.md", "LICENSE", "NOTICE"
OPS = """
import torch, avatar_core
from avatar_core.cuda import backend
from avatar_core.cuda.hashgrid import HashGridSpec, hash_grid, hash_grid_reference
spec = HashGridSpec(14, 2, 15, 16, 1.38)
points, table = torch.rand(1000, 3), torch.randn(spec.parameters, 2)
found, wanted = hash_grid(points, table, spec), hash_grid_reference(points, table, spec)
torch.testing.assert_close(found, wanted, atol=2e-4, rtol=1e-4)
print(avatar_core.__file__, "|", backend().name, "|", backend().reason)
"""
# what the extension does, with its own files; its __init__ is for Blender
CLIENT = """
import sys, types
package, actor = sys.argv[1:]
extension = types.ModuleType("neural_avatars")
extension.__path__ = [package]
sys.modules["neural_avatars"] = extension
from neural_avatars.client import Worker, python_command
worker = Worker(python_command(sys.executable))
camera = dict(width=32, height=32, K=[40, 0, 16, 0, 40, 16, 0, 0, 1],
              world_to_camera=[1, 0, 0, 0, 0, -1, 0, 0, 0, 0, -1, 3.2, 0, 0, 0, 1], distortion=[])
info = worker.start()
reply = worker.request(dict(type="render", actor=actor, controls={}, camera=camera, quality="preview"))
rgba = Worker.full(reply)["rgba"]
worker.close()
print(info["backend"], "|", rgba.shape, "|", rgba[..., 3].max() > 0.9)
"""
pytest.importorskip("pip")  # it fetches setuptools and zig
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(build.system() not in build.TARGETS, reason="no kernels are shipped for this system"),
]


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The interpreter of a fresh environment with the wheel, that sees this one's packages behind its own; but zig."""
    folder = tmp_path_factory.mktemp("wheel")
    pip = sys.executable, "-m", "pip"
    run(*pip, "wheel", "-q", sources(folder / "sources"), "--no-deps", "--config-settings=kernels=here", "-w", folder)
    run(sys.executable, "-m", "venv", "--without-pip", folder / "venv")
    paths = {name: Path(sysconfig.get_path(name, "venv", {"base": folder / "venv"})) for name in ("purelib", "scripts")}
    hidden = "import sys; sys.modules['ziglang'] = None"
    (paths["purelib"] / "others.pth").write_text(f"{sysconfig.get_path('purelib')}\n{hidden}\n")
    found = paths["scripts"] / Path(sys.executable).name
    run(*pip, "--python", found, "install", "-q", "--no-deps", *folder.glob("*.whl"))
    return found


@pytest.fixture
def bare(tmp_path: Path) -> dict[str, str]:
    """The environment of a machine without programs and without a cache."""
    kept = {name: value for name, value in os.environ.items() if name not in ("CXX", "PYTHONPATH", "AVATAR_BACKEND")}
    return {**kept, "PATH": str(tmp_path), "XDG_CACHE_HOME": str(tmp_path), "LOCALAPPDATA": str(tmp_path)}


def sources(folder: Path) -> Path:
    """A clone, without what was built in it."""
    for name in PACKAGES:
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__", "shipped"))
    for name in FILES:
        shutil.copyfile(ROOT / name, folder / name)
    return folder


def run(*command: str | Path, **options: object) -> str:
    done = subprocess.run(command, capture_output=True, text=True, timeout=600, **options)  # type: ignore[call-overload]
    if "No matching distribution" in done.stderr:
        pytest.skip("pip reaches no index")
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_a_wheel_needs_no_compiler(python: Path, bare: dict[str, str], tmp_path: Path) -> None:
    place, name, reason = run(python, "-I", "-c", OPS, env=bare).strip().split(" | ")
    assert Path(place).is_relative_to(python.parents[1])
    assert name == "native" and reason.startswith("as shipped for ")
    assert not list(tmp_path.iterdir()), "nothing is built, nothing is cached"


def test_the_extension_needs_no_compiler(
    python: Path, bare: dict[str, str], tmp_path: Path, tmp_path_factory: pytest.TempPathFactory, tiny_actor: Path
) -> None:
    folder = tmp_path_factory.mktemp("extension")
    sys.path.insert(0, str(ROOT))
    import build_addon

    shutil.unpack_archive(build_addon.build(folder), folder / "neural_avatars")
    done = run(python, "-I", "-c", CLIENT, folder / "neural_avatars", tiny_actor, env=bare)
    assert done.strip() == "native | (32, 32, 4) | True"
