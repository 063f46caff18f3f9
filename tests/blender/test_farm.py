"""The job type for Flamenco: what it tells the farm to do, and that Blender does it."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from blenders import ROOT, Studio
from test_blenders import channels, pixels

SCRIPT = ROOT / "blend_templates" / "flamenco" / "avatar_render.js"


def compile_job(**settings: Any) -> list[dict[str, Any]]:
    """The tasks, in order; each has name, type, commands and the names of its dependencies."""
    node = shutil.which("node")
    if node is None:
        pytest.skip("node runs the job type: install Node.js")
    manager = Path(__file__).parent / "flamenco_manager.js"
    settings = {"blendfile": "/shots/a.blend", "scene": "Scene", **settings}
    settings.setdefault("render_output", "/frames/a_####")
    settings.setdefault("bake_output", "/avatars/a_####")
    done = subprocess.run([node, str(manager), str(SCRIPT), json.dumps(settings)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def command_line(task: dict[str, Any], blender: list[str]) -> list[str]:
    """What a worker of Flamenco starts for a task, with its variables {blender} and {blenderArgs} filled in."""
    (command,) = task["commands"]
    assert command["name"] == "blender-render" and task["type"] == "blender"
    given = command["parameters"]
    assert (given["exe"], given["exeArgs"]) == ("{blender}", "{blenderArgs}")
    return [*blender, *given["argsBefore"], given["blendfile"], *given["args"]]


def test_chunks_cover_all_frames_and_wait_for_the_baked() -> None:
    plain = compile_job(frames="1-25")
    assert [task["name"] for task in plain] == ["render-1-10", "render-11-20", "render-21-25"]
    assert not any(task["dependencies"] for task in plain)
    assert not any("--baked" in task["commands"][0]["parameters"]["args"] for task in plain)
    both = compile_job(frames="3, 5-8", chunk_size=3, bake=True)
    assert [task["name"] for task in both] == ["bake-3,5-6", "bake-7-8", "render-3,5-6", "render-7-8"]
    assert [task["dependencies"] for task in both] == [[], [], *[["bake-3,5-6", "bake-7-8"]] * 2]
    line = command_line(both[2], ["blender", "-b", "-y"])
    assert line[:6] == ["blender", "-b", "-y", "/shots/a.blend", "--command", "avatar"]
    assert "--resume" in line  # a second try renders what is missing


def test_the_tasks_make_the_shot(studio: Studio) -> None:
    """Each task's own command: baked, rendered from the baked pictures without a renderer, and tried again."""
    studio.build({"farm_shot": {"frames": 2}})
    blend, baked, frames = (studio.folder / name for name in ("farm_shot.blend", "farm_baked", "farm_frames"))
    tasks = compile_job(
        frames="1-2",
        chunk_size=2,
        bake=True,
        blendfile=str(blend),
        render_output=str(frames / "shot_####"),
        bake_output=str(baked / "shot_####"),
    )
    for task, worker in zip(tasks, (None, "/nowhere/python")):
        line = command_line(task, [])
        assert line[:3] == [str(blend), "--command", "avatar"]
        done = studio.avatar(blend, *line[3:], worker=worker)
        assert done.returncode == 0, done.stdout + done.stderr
    again = studio.avatar(blend, *command_line(tasks[1], [])[3:], worker="/nowhere/python")
    assert again.returncode == 0 and "0 frames rendered" in again.stdout and "2 were there" in again.stdout
    assert sorted(path.name for path in baked.iterdir()) == ["shot_0001.exr", "shot_0002.exr"]
    assert "tiny_rig" in manifest(baked / "shot_0001.exr")
    done = studio.animate(blend, "farm_live_")
    assert done.returncode == 0, done.stdout + done.stderr
    for frame in (1, 2):
        shown = pixels(channels(frames / f"shot_{frame:04d}.exr"))
        np.testing.assert_allclose(shown, pixels(channels(studio.folder / f"farm_live_{frame:04d}.exr")), atol=1e-6)


def manifest(path: Path) -> dict[str, str]:
    """The names and hashes of Cryptomatte's objects in an EXR file."""
    import OpenEXR

    with OpenEXR.File(str(path), header_only=True) as file:  # which empties its headers at the end
        about = [entry for part in file.parts for entry in part.header.items() if entry[0].startswith("cryptomatte/")]
    names = {key.rsplit("/", 1)[1]: value for key, value in about}
    assert (names["name"], names["hash"]) == ("ViewLayer.CryptoObject", "MurmurHash3_32")
    return json.loads(names["manifest"])
