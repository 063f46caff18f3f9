"""Files that are not what an operator takes: one sentence says so, and nothing is left of the attempt."""

from __future__ import annotations

import contextlib
import re
import shutil
import struct
from functools import partial
from pathlib import Path
from typing import Any

import bpy
import numpy as np
from avatars import activate, failure
from contents import contents
from undo_cases import composited, difference

ACTORS, TABLE = ("load_actor", "drive_armature", "find_actor"), "Timecode,BlendShapeCount,JawOpen,TongueOut\n"
TAKES = {
    **dict.fromkeys(ACTORS, (".actor",)),
    "import_motion": (".npz", ".pkl"),
    "import_faces": (".csv",),
    "use_baked": ("0001.exr",),
}
OF_PYTHON = re.compile(r"Errno|codec|Traceback|Error\b|\bNone\b|\(\)|\(\d\)|unpack")  # no words of an artist's


def case_a_wrong_file_is_refused_in_a_sentence(actor: Path) -> None:
    """Empty, of another kind, cut off, huge by its own account, missing, a folder, not to be read."""
    with contextlib.ExitStack() as done:
        composited()(actor, done)
    for name, suffixes in TAKES.items():
        for suffix in suffixes:
            for file in wrong_files(actor, suffix):
                before = contents()
                said = failure(partial(getattr(bpy.ops.avatar, name), filepath=str(file)))
                sentence = said.removeprefix("Error: ").removesuffix("\n")
                assert file.name in sentence and sentence.endswith(".") and "\n" not in sentence, f"{name}: {said}"
                assert not OF_PYTHON.search(sentence), f"{name}: {said}"
                assert not difference(before, contents()), f"{name}: {difference(before, contents())}"


def case_names_may_have_umlauts_and_spaces(actor: Path) -> None:
    good = actor.with_name("Jürgen Müller, größer.actor")
    shutil.copy(actor, good)
    assert bpy.ops.avatar.load_actor(filepath=str(good)) == {"FINISHED"}
    motion = actor.with_name("Füße 2.npz")
    assert bpy.ops.avatar.sample_motion(clip="wave", rounds=1) == {"FINISHED"}
    bpy.context.scene.frame_end = 3
    assert bpy.ops.avatar.export_motion(filepath=str(motion)) == {"FINISHED"}
    assert bpy.ops.avatar.import_motion(filepath=str(motion)) == {"FINISHED"}
    assert "cannot be written" in failure(lambda: bpy.ops.avatar.export_motion(filepath=str(actor / "x.npz")))
    activate()
    assert bpy.ops.avatar.pack_actor() == {"FINISHED"}


def wrong_files(actor: Path, suffix: str) -> list[Path]:
    folder = actor.with_name(f"Größe und Maß {suffix}")
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    held: dict[str, Any] = {
        "empty": b"",
        "zeros": bytes(5000),
        "text": b"Dear Sir,\n" * 300,
        "cut": actor.read_bytes()[:-50],
        "tall": struct.pack("<Q", 1 << 60) + b"{}" * 100,
    }
    held |= {
        ".csv": {
            "word": f"{TABLE}10:00:00:00.000,61,x,1\n".encode(),
            "noon": f"{TABLE}noon,61,1,1\n".encode(),
            "infinite": f"{TABLE}10:00:00:00.000,61,inf,1\n".encode(),
            "long": f"{TABLE}10:00:00:00.000,61,1,2,3\n".encode(),
            "short": f"{TABLE}10:00:00:00.000,61,1\n".encode(),
            "stranger": b"Timecode,BlendShapeCount,Nose\n10:00:00:00.000,61,1\n",
        },
        ".npz": {
            "other": {"a": np.zeros(3)},
            "nothing": {"poses": np.zeros((0, 66)), "trans": np.zeros((0, 3))},
            "nan": {"poses": np.full((3, 66), np.nan), "trans": np.zeros((3, 3))},
        },
    }.get(suffix, {})
    for name, data in held.items():
        if isinstance(data, dict):
            np.savez(folder / f"{name}{suffix}", **data)
        else:
            (folder / f"{name}{suffix}").write_bytes(data)
    (folder / f"folder{suffix}").mkdir()
    circle = folder / f"circle{suffix}"
    circle.symlink_to(circle)
    return [*sorted(folder.glob("*")), folder / f"missing{suffix}"]
