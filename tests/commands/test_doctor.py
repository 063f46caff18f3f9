"""The report names what is missing and what to do, and its exit code says whether a render can work."""

from __future__ import annotations

import stat
import sys
from argparse import ArgumentParser
from types import ModuleType

import pytest

from avatar_core import cuda
from avatar_core.commands import doctor
from avatar_core.cuda import BackendInfo, optional
from avatar_core.cuda.optional import Found


def report(capsys, *arguments: str) -> tuple[int, dict[str, str]]:
    """The exit code, and each line by its name."""
    parser = ArgumentParser()
    doctor.add_arguments(parser)
    code = doctor.run(parser.parse_args(list(arguments)))
    lines = capsys.readouterr().out.splitlines()
    return code, {line[8:22].strip(): line for line in lines if line and not line.startswith("a render")}


@pytest.fixture
def program(tmp_path):
    """program(text) is the path of an executable that prints `text`."""

    def make(text: str, name: str = "blender") -> str:
        path = tmp_path / name
        path.write_text(f"#!/bin/sh\necho '{text}'\n")
        path.chmod(path.stat().st_mode | stat.S_IXUSR)
        return str(path)

    return make


def test_where_all_is_there_a_render_can_work_and_the_worker_answers(capsys):
    code, lines = report(capsys)
    assert code == 0, lines
    assert lines["worker"].startswith("ok") and "answers: " in lines["worker"]
    assert all(lines[name].startswith("ok") for name in ("Python", "PyTorch", "libraries", "CPU kernels"))
    assert all("; " in line for line in lines.values() if line.startswith("missing")), "each lack has a remedy"


def test_without_torch_nothing_renders_and_the_remedy_is_a_command(capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)
    code, lines = report(capsys, "--no-worker")
    assert code == 1 and lines["PyTorch"].startswith("MISSING")
    assert f"{sys.executable} -m pip install torch" in lines["PyTorch"]


def test_a_missing_library_is_named_by_its_package(capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "yaml", None)
    code, lines = report(capsys, "--no-worker")
    assert code == 1 and lines["libraries"].startswith("MISSING") and "pip install pyyaml" in lines["libraries"]


def test_a_check_that_fails_itself_does_not_end_the_report(capsys, monkeypatch):
    def kernels():
        raise OSError("the cache folder is full")
        yield

    monkeypatch.setattr(doctor, "kernels", kernels)
    lines = report(capsys, "--no-worker")[1]
    assert "the cache folder is full" in lines["kernels"] and "demo actor" in lines


def test_kernels_of_each_device_say_which_why_and_what_would_be_faster(capsys, monkeypatch):
    infos = {
        "cpu": BackendInfo("reference", "no C++ compiler was found", "pip install ziglang"),
        "cuda": BackendInfo("cuda", "device code as shipped"),
    }
    monkeypatch.setattr(cuda, "backend", infos.get)
    monkeypatch.setattr(doctor, "_cuda", lambda: True)
    packages = {
        "nvdiffrast": Found(ModuleType("nvdiffrast"), "in use"),
        "tiny-cuda-nn": Found(None, "cannot be loaded (undefined symbol)", "build it again"),
    }
    monkeypatch.setattr(optional, "found", packages.get)
    code, lines = report(capsys, "--no-worker")
    assert code == 0
    assert lines["CPU kernels"].startswith("missing") and "slower: no C++ compiler was found" in lines["CPU kernels"]
    assert lines["CPU kernels"].endswith("; pip install ziglang")
    assert lines["GPU kernels"].startswith("ok") and "device code as shipped" in lines["GPU kernels"]
    assert lines["nvdiffrast"].startswith("ok") and "in use for gradients" in lines["nvdiffrast"]
    assert lines["tiny-cuda-nn"].startswith("missing") and "build it again" in lines["tiny-cuda-nn"]


def test_packages_for_a_gpu_are_not_spoken_of_without_one(capsys, monkeypatch):
    monkeypatch.setattr(doctor, "_cuda", lambda: False)
    lines = report(capsys, "--no-worker")[1]
    assert not {"GPU kernels", "nvdiffrast", "tiny-cuda-nn"} & set(lines)


@pytest.mark.parametrize(
    "output, mark, words",
    [
        ("Blender 4.3.2", "ok", "4.3.2 at "),
        ("Blender 5.2.2 LTS", "ok", "5.2.2 LTS at "),
        ("Blender 4.1.0", "missing", "needs 4.2 or newer"),
        ("GNU Image Manipulation Program", "missing", "is not Blender"),
    ],
)
def test_blenders_are_asked_for_their_version(program, monkeypatch, output, mark, words):
    monkeypatch.setenv("BLENDER", program(output))
    monkeypatch.setenv("PATH", "/nowhere")
    (finding,) = doctor.blenders()
    assert doctor.line(finding).startswith(mark) and words in doctor.line(finding)


def test_a_blender_that_is_not_there_is_named(monkeypatch):
    monkeypatch.setenv("BLENDER", "/nowhere/blender")
    monkeypatch.setenv("PATH", "/nowhere")
    (finding,) = doctor.blenders()
    assert not finding.ok and "/nowhere/blender" in finding.found


def test_one_blender_named_twice_is_one_line(program, monkeypatch, tmp_path):
    monkeypatch.setenv("BLENDER", program("Blender 4.5.15"))
    monkeypatch.setenv("PATH", f"{tmp_path}:/bin:/usr/bin")
    assert len(list(doctor.blenders())) == 1
