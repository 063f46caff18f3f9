"""`avatar doctor`: what is installed, what is in use, and what to do about each lack."""

from __future__ import annotations

import importlib
import os
import platform
import shutil
import subprocess
import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path

from .. import __version__
from ..errors import AvatarError

OLDEST_PYTHON = (3, 11)
OLDEST_BLENDER = (4, 2)
LIBRARIES = {
    "numpy": "numpy",
    "scipy": "scipy",
    "yaml": "pyyaml",
    "safetensors": "safetensors",
    "PIL": "pillow",
    "tqdm": "tqdm",
}  # module: package


@dataclass(frozen=True)
class Finding:
    """One line of the report. remedy: what to do, for what is missing. needed: without it nothing renders."""

    name: str
    found: str
    ok: bool = True
    remedy: str = ""
    needed: bool = False


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("--no-worker", action="store_true", help="do not start a worker (it takes a few seconds)")


def run(arguments: Namespace) -> int:
    """Prints the report; 0 when a render can work, else 1."""
    checks = [python, torch, libraries, kernels, gpu_packages, bpy, blenders, smplx, demo_actor]
    if not arguments.no_worker:
        checks.append(worker)
    fit = True
    for check in checks:
        for finding in _guarded(check):
            print(line(finding), flush=True)
            fit = fit and (finding.ok or not finding.needed)
    print("\na render can work" if fit else "\na render cannot work before what is marked MISSING is there")
    return 0 if fit else 1


def line(finding: Finding) -> str:
    """`ok`, `missing`, or `MISSING` where nothing works without it; name, what was found, what to do."""
    mark = "ok" if finding.ok else "MISSING" if finding.needed else "missing"
    remedy = f"; {finding.remedy}" if finding.remedy else ""
    return f"{mark:8}{finding.name:14}{finding.found}{remedy}"


def python() -> Iterator[Finding]:
    found = f"{platform.python_version()} in {sys.prefix}, avatar-core {__version__}"
    fit = sys.version_info >= OLDEST_PYTHON
    oldest = ".".join(map(str, OLDEST_PYTHON))
    yield Finding("Python", found, fit, "" if fit else f"make an environment with Python {oldest} or newer", True)


def torch() -> Iterator[Finding]:
    try:
        module = importlib.import_module("torch")
    except (ImportError, OSError) as error:
        yield Finding("PyTorch", f"cannot be imported ({_first(error)})", False, _pip("torch"), True)
        return
    yield Finding("PyTorch", f"{module.__version__}, {module.get_num_threads()} threads", needed=True)
    if module.cuda.is_available():
        for index in range(module.cuda.device_count()):
            free, total = (size / 2**30 for size in module.cuda.mem_get_info(index))
            name = module.cuda.get_device_name(index)
            yield Finding("GPU", f"cuda:{index} {name}, {free:.1f} of {total:.1f} GiB free")
    elif shutil.which("nvidia-smi"):
        remedy = f"this PyTorch cannot use the GPU ({module.version.cuda or 'built for the CPU'}): see pytorch.org"
        yield Finding("GPU", "an NVIDIA driver is here, CUDA is not available", False, remedy)
    else:
        yield Finding("GPU", "none that PyTorch can use", False, "frames are rendered on the CPU, slower")


def libraries() -> Iterator[Finding]:
    absent = [package for module, package in LIBRARIES.items() if not _importable(module)]
    if absent:
        yield Finding("libraries", f"{', '.join(absent)} cannot be imported", False, _pip(*absent), True)
    else:
        yield Finding("libraries", ", ".join(f"{name} {_version(name)}" for name in LIBRARIES.values()), needed=True)


def kernels() -> Iterator[Finding]:
    """What the CPU uses and, where PyTorch has an NVIDIA GPU, what that uses."""
    from ..cuda import backend

    for device in ("cpu", "cuda") if _cuda() else ("cpu",):
        info = backend(device)
        name = "GPU kernels" if device == "cuda" else "CPU kernels"
        if info.name == "reference":
            yield Finding(name, f"none, PyTorch does their work slower: {info.reason}", False, info.faster)
        else:
            yield Finding(name, f"{info.name}, {info.reason}", remedy=info.faster)


def gpu_packages() -> Iterator[Finding]:
    """Packages that are used on an NVIDIA GPU where somebody has installed them."""
    from ..cuda import optional

    uses = {"nvdiffrast": "gradients of silhouettes in training", "tiny-cuda-nn": "small networks in half precision"}
    for name, use in uses.items() if _cuda() else ():
        package = optional.found(name)
        text = f"{package.reason} for {use}" if package.module else package.reason
        yield Finding(name, text, not package.remedy, package.remedy)


def bpy() -> Iterator[Finding]:
    yield _optional("bpy", "bpy", "avatar demo and avatar capture", "'avatar-core[blender]'")


def smplx() -> Iterator[Finding]:
    yield _optional("smplx", "smplx", "comparing our bodies with the original code", "'avatar-core[smpl]'")


def blenders() -> Iterator[Finding]:
    """The executable that BLENDER names and the one on the PATH, each asked for its version."""
    named = os.environ.get("BLENDER", "").strip()
    places = {"BLENDER": shutil.which(named) if named else None, "PATH": shutil.which("blender")}
    if named and not places["BLENDER"]:
        yield Finding("Blender", f"BLENDER is {named}, which is no program", False, "set it to the executable")
    programs = {path: place for place, path in reversed(places.items()) if path}
    if not programs and not named:
        remedy = "put it on the PATH or set BLENDER (blender.org), or work with the bpy module"
        yield Finding("Blender", "no executable found", False, remedy)
    for path, place in programs.items():
        yield _blender(path, place)


def demo_actor() -> Iterator[Finding]:
    from ..actor_file import read_header

    folder = importlib.import_module("blend_templates").__path__[0]
    actors = sorted(Path(folder, "actors").glob("*.actor"))
    if not actors:
        yield Finding("demo actor", "not in this installation", False, "give avatar demo one with --actor")
    for path in actors:
        method = read_header(path).document.get("method")
        yield Finding("demo actor", f"{path} ({method}, {path.stat().st_size / 1e6:.1f} MB)")


def worker() -> Iterator[Finding]:
    """Starts the worker as Blender does and lets it answer."""
    from ..worker.client import Worker, WorkerError, python_command

    process = Worker(python_command(sys.executable))
    try:
        info = process.start()
    except WorkerError as error:
        remedy = "install the package: pip install avatar-core, or pip install -e . in a clone"
        yield Finding("worker", error.message, False, remedy if error.kind == "missing" else "", True)
    else:
        yield Finding("worker", f"answers: {info['device']}, kernels {info['backend']}", needed=True)
    finally:
        process.close()


def _guarded(check: Callable[[], Iterator[Finding]]) -> Iterator[Finding]:
    """A check that fails itself is a finding too: a report that stops half-way helps nobody."""
    try:
        yield from check()
    except AvatarError as error:
        yield Finding(check.__name__.replace("_", " "), str(error), False)
    except Exception as error:
        needed = check in (kernels, worker)
        yield Finding(check.__name__.replace("_", " "), f"{type(error).__name__}: {_first(error)}", False, "", needed)


def _blender(path: str, place: str) -> Finding:
    try:
        output = subprocess.run([path, "--version"], capture_output=True, text=True, timeout=60).stdout
    except (OSError, subprocess.TimeoutExpired) as error:
        return Finding("Blender", f"{path} does not run ({_first(error)})", False, "install it again")
    first = (output.splitlines() or [""])[0]
    numbers = [int(part) for part in first.removeprefix("Blender ").split(".")[:2] if part.isdigit()]
    if not first.startswith("Blender ") or len(numbers) < 2:
        return Finding("Blender", f"{path} is not Blender ('{first[:60]}')", False, "name the executable itself")
    fit = tuple(numbers) >= OLDEST_BLENDER
    remedy = "" if fit else f"the extension needs {'.'.join(map(str, OLDEST_BLENDER))} or newer"
    return Finding("Blender", f"{first.removeprefix('Blender ')} at {path} (from {place})", fit, remedy)


def _optional(name: str, module: str, purpose: str, package: str) -> Finding:
    if find_spec(module) is None:
        return Finding(name, f"not installed; needed for {purpose}", False, _pip(package))
    return Finding(name, _version(module))


def _cuda() -> bool:
    return importlib.import_module("torch").cuda.is_available()


def _importable(module: str) -> bool:
    try:
        importlib.import_module(module)
    except (ImportError, OSError):
        return False
    return True


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "installed"


def _pip(*packages: str) -> str:
    return f"{sys.executable} -m pip install {' '.join(packages)}"


def _first(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:200]
