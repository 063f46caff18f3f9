"""Actors get a small picture of themselves, and nothing else in their file changes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from avatar_core import actor_file
from avatar_core.actor import Actor
from avatar_core.actor_file import ActorFileError
from avatar_core.cli import main


def test_an_actor_without_a_picture_gets_one(tiny_actor: Path, tmp_path: Path) -> None:
    path = tmp_path / "anna.actor"
    document, tensors = actor_file.read_header(tiny_actor).document, actor_file.read_tensors(tiny_actor)
    trained = tensors.pop("preview")
    actor_file.write(path, document, tensors)
    assert Actor.load(path).preview is None
    assert main(["thumbnail", str(path)]) == 0
    made = Actor.load(path).preview
    assert made is not None and made.shape == (256, 256, 4)
    for picture in (made, trained):
        assert picture[..., 3].max() == 255 and 0.02 < (picture[..., 3] > 128).mean() < 0.9
    assert actor_file.read_header(path).document == document
    again = actor_file.read_tensors(path)
    assert again.keys() == {*tensors, "preview"}
    assert all(np.array_equal(again[name], array) for name, array in tensors.items())


def test_a_picture_that_is_none_is_refused(tiny_actor: Path, tmp_path: Path) -> None:
    document, tensors = actor_file.read_header(tiny_actor).document, actor_file.read_tensors(tiny_actor)
    for wrong in (np.zeros((2048, 4, 4), np.uint8), np.zeros((8, 8), np.uint8), np.zeros((8, 8, 4), np.float32)):
        actor_file.write(tmp_path / "x.actor", document, {**tensors, "preview": wrong})
        with pytest.raises(ActorFileError, match="its preview is no picture"):
            Actor.load(tmp_path / "x.actor")
