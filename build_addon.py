"""Makes the Blender extension: one zip of pure Python for every platform and every Blender from 4.2.

    python build_addon.py --output dist
    python build_addon.py --wheel dist/avatar_core-0.1.0-py3-none-any.whl    # carries what its installer installs
    python build_addon.py --kernels    # what a wheel of avatar_core ships instead: kernels for every system

Copies blender_addon/ and what it shares with the rest (the worker's protocol and client, the rig) into
one package, checks what Blender's own validator lets pass, writes a zip that is the same for the same
sources, and has Blender validate it where one is named in the environment variable BLENDER.
"""

from __future__ import annotations

import argparse
import ast
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
import tomllib
import zipfile
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent
SHARED = (
    "avatar_core/worker/protocol.py",
    "avatar_core/worker/link.py",
    "avatar_core/worker/client.py",
    "avatar_core/worker/kept_files.py",
    "blend_templates/rig.py",
    "blend_templates/flamenco/avatar_render.js",
)
_REQUIRED_KEYS = {
    "schema_version", "id", "version", "name", "tagline", "maintainer", "type", "blender_version_min",
    "license",
}  # fmt: skip
_KNOWN_KEYS = _REQUIRED_KEYS | {"tags", "copyright", "website", "permissions", "build"}
_BLENDERS_OWN = {"bpy", "bpy_extras", "mathutils", "gpu", "gpu_extras", "blf", "bl_math", "bmesh", "numpy"}
_DATE = (1980, 1, 1, 0, 0, 0)  # of every entry of the zip


class BuildError(Exception):
    """Sources that make no valid extension; the sentence names file and entry."""


def stage(folder: Path) -> Path:
    """Fills the new folder `folder` with the whole package, ready to import or to zip; returns it."""
    folder = Path(folder)
    shutil.copytree(ROOT / "blender_addon", folder, ignore=shutil.ignore_patterns("__pycache__"))
    for name in SHARED:
        shutil.copyfile(ROOT / name, folder / Path(name).name)
    return folder


def check(folder: Path) -> dict[str, Any]:
    """The manifest of a staged package. Raises BuildError for what Blender's validator does not see."""
    path = folder / "blender_manifest.toml"
    try:
        manifest = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, tomllib.TOMLDecodeError) as error:
        raise BuildError(f"{path} cannot be read: {error}") from error
    missing = sorted(_REQUIRED_KEYS - set(manifest))
    if missing:
        raise BuildError(f"{path.name} has no '{missing[0]}'")
    unknown = sorted(set(manifest) - _KNOWN_KEYS)
    if unknown:
        raise BuildError(f"{path.name}: unknown key '{unknown[0]}'")
    for licence in manifest["license"]:
        if not licence.startswith("SPDX:"):
            raise BuildError(f"{path.name}: license '{licence}' must be SPDX:NAME")
    oldest = tuple(int(part) for part in manifest["blender_version_min"].split("."))
    if oldest < (4, 2, 0):
        raise BuildError(f"{path.name}: blender_version_min {manifest['blender_version_min']} is below 4.2.0")
    if not re.fullmatch(r"\d+\.\d+\.\d+(-[0-9A-Za-z.-]+)?", manifest["version"]):
        raise BuildError(f"{path.name}: version '{manifest['version']}' is not semantic, such as 0.1.0-dev.1")
    texts = {"tagline": manifest["tagline"], **manifest.get("permissions", {})}
    for name, text in texts.items():
        if len(text) > 64 or not text[-1].isalnum():
            raise BuildError(f"{path.name}: '{name}' must have at most 64 characters and no full stop at the end")
    for source in sorted(folder.rglob("*.py")):
        _check_source(source)
    return manifest


def build(output: Path, wheel: Path | None = None) -> Path:
    """Writes the zip into the folder `output`; returns its path. wheel: of avatar_core, for the extension's installer.

    Raises BuildError.
    """
    with tempfile.TemporaryDirectory() as temporary:
        folder = stage(Path(temporary) / "package")
        manifest = check(folder)
        if wheel is not None:
            _carry(wheel, folder)
        output.mkdir(parents=True, exist_ok=True)
        target = output / f"{manifest['id']}-{manifest['version']}.zip"
        part = target.with_name(target.name + ".part")
        with zipfile.ZipFile(part, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
            for path in sorted(path for path in folder.rglob("*") if path.is_file()):
                entry = zipfile.ZipInfo(path.relative_to(folder).as_posix(), _DATE)
                entry.compress_type, entry.create_system = zipfile.ZIP_DEFLATED, 3
                entry.external_attr = 0o644 << 16
                archive.writestr(entry, path.read_bytes())
        os.replace(part, target)
    return target


def validate(package: Path, blender: str) -> None:
    """Has Blender check the zip. blender: a command line. Raises BuildError with what it says."""
    command = [*shlex.split(blender), "--factory-startup", "--command", "extension", "validate", str(package)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise BuildError(f"Blender cannot be run: {error}") from error
    if done.returncode:
        raise BuildError(f"Blender refuses {package.name}:\n{done.stdout}{done.stderr}")


def _carry(wheel: Path, folder: Path) -> None:
    if not re.fullmatch(r"avatar_core-.*\.whl", wheel.name) or not zipfile.is_zipfile(wheel):
        raise BuildError(f"{wheel} is no wheel of avatar_core: make one with 'pip wheel . --no-deps -w dist'")
    shutil.copyfile(wheel, folder / wheel.name)


def _check_source(path: Path) -> None:
    """Blender's Python has numpy and nothing else that we may import."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"), str(path))):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = [node.module or ""] if node.level == 0 else []
            if node.level > 1:
                raise BuildError(f"{path.name}:{node.lineno} imports from outside of the package")
        else:
            continue
        for name in names:
            top = name.split(".")[0]
            if top not in _BLENDERS_OWN and top not in sys.stdlib_module_names:
                raise BuildError(f"{path.name}:{node.lineno} imports '{top}', which Blender does not have")


def _kernels() -> int:
    from avatar_core.cuda import build

    try:
        for line in build.build():
            print(line, flush=True)
    except build.BuildError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


def main() -> int:
    parser = argparse.ArgumentParser(description="Build the Blender extension.")
    parser.add_argument("--output", type=Path, default=ROOT / "dist", help="folder for the zip (default: dist)")
    parser.add_argument("--wheel", type=Path, help="a wheel of avatar_core, which the extension can install")
    parser.add_argument("--kernels", action="store_true", help="build the binaries of avatar_core's kernels instead")
    options = parser.parse_args()
    if options.kernels:
        return _kernels()
    try:
        package = build(options.output, options.wheel)
        blenders = [entry for entry in re.split(f"[,{os.pathsep}]", os.environ.get("BLENDER", "")) if entry.strip()]
        for blender in blenders:
            validate(package, blender)
    except BuildError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    accepted = f", accepted by {len(blenders)} Blender" if blenders else ""
    print(f"{package} ({package.stat().st_size:,} bytes{accepted})")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
