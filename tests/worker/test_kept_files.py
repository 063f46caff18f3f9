"""Actor files that are named by what they hold: whole or not there, and gone when nobody uses them."""

from __future__ import annotations

import hashlib
import os
import time
from pathlib import Path

import pytest

from avatar_core.worker import kept_files
from avatar_core.worker.kept_files import KeptFiles

DAY = 86400


@pytest.fixture
def files(tmp_path: Path) -> KeptFiles:
    return KeptFiles(tmp_path / "kept")


def put(files: KeptFiles, data: bytes, days: float = 0) -> Path:
    """Keeps an actor that was last used some days ago."""
    part = files.part()
    part.write_bytes(data)
    path = files.keep(part, hashlib.sha256(data).hexdigest())
    assert path is not None and path.read_bytes() == data
    os.utime(path, (time.time() - days * DAY,) * 2)
    return path


def test_a_file_is_used_only_while_it_is_what_its_name_says(files: KeptFiles) -> None:
    path = put(files, b"anna")
    assert files.find(path.stem) == path and files.find("0" * 64) is None
    path.write_bytes(b"eve!")
    assert files.find(path.stem) is None
    part = files.part()
    part.write_bytes(b"other bytes")
    assert files.keep(part, path.stem) is None and not part.exists()


def test_a_use_keeps_a_file_and_leaves_its_time_of_change(files: KeptFiles) -> None:
    used, unused = put(files, b"used", 40), put(files, b"unused", 40)
    changed = used.stat().st_mtime_ns
    assert files.find(used.stem) == used and used.stat().st_mtime_ns == changed
    files.tidy()
    assert used.exists() and not unused.exists()


def test_the_open_files_and_strangers_stay(files: KeptFiles) -> None:
    path = put(files, b"in the open .blend", 40)
    stranger = path.with_name("robin.actor")
    stranger.write_bytes(b"")
    os.utime(stranger, (0, 0))
    crashed = files.part()
    os.utime(crashed, (0, 0))
    files.tidy([path.stem])
    assert path.exists() and stranger.exists() and not crashed.exists()


def test_those_used_longest_ago_make_room_but_none_of_today(files: KeptFiles, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kept_files, "_ROOM", 10)
    today, late, old = put(files, b"eightone"), put(files, b"eighttwo", 2), put(files, b"eight3rd", 20)
    also = put(files, b"eight4th", 0.1)
    files.tidy()
    assert today.exists() and also.exists() and not late.exists() and not old.exists()
