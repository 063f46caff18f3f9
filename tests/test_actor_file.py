"""An .actor file from a stranger is read whole or refused in one sentence."""

from __future__ import annotations

import json
import pickle
import struct
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save

from avatar_core.actor import Actor
from avatar_core.actor_file import ActorFileError, read_header
from avatar_core.errors import AvatarError
from tests.command import avatar


def rewrite(source: Path, target: Path, change) -> Path:
    """A copy of an actor file; `change(document, tensors)` alters it."""
    document, tensors = read_header(source).document, load_file(source)
    change(document, tensors)
    target.write_bytes(save(tensors, metadata={"avatar": json.dumps(document)}))
    return target


def test_a_file_round_trips_to_the_same_picture(tiny_actor: Path, tmp_path: Path, front_camera) -> None:
    first = Actor.load(tiny_actor)
    first.save(tmp_path / "again.actor")
    second = Actor.load(tmp_path / "again.actor")
    one, two = (actor.render(actor.schema.neutral(), front_camera, "draft") for actor in (first, second))
    assert np.array_equal(one.rgba, two.rgba)
    assert one.mask.max() > 0.99
    assert second.metadata["provenance"]["metrics"]["novel_view"]["box_psnr"] > 20
    assert not list(tmp_path.glob("*.part"))


def test_the_shipped_actor_is_small_and_says_where_it_comes_from(tiny_actor: Path) -> None:
    assert tiny_actor.stat().st_size < 10e6
    document = read_header(tiny_actor).document
    assert document["licence"] == "CC0-1.0"
    assert {"dataset", "steps", "metrics", "date"} <= set(document["provenance"])


@pytest.mark.parametrize("keep", [0, 5, 300, 100_000, -1])
def test_truncated_files_are_refused(tiny_actor: Path, tmp_path: Path, keep: int) -> None:
    path = tmp_path / "cut.actor"
    path.write_bytes(tiny_actor.read_bytes()[:keep])
    with pytest.raises(ActorFileError, match="truncated"):
        Actor.load(path)


def test_a_pickle_in_disguise_is_refused_and_not_run(tmp_path: Path) -> None:
    class Bomb:
        def __reduce__(self):
            return (Path.touch, (tmp_path / "ran",))

    path = tmp_path / "bomb.actor"
    path.write_bytes(pickle.dumps(Bomb()))
    with pytest.raises(ActorFileError, match="pickle"):
        Actor.load(path)
    assert not (tmp_path / "ran").exists()


def test_a_header_whose_length_looks_like_a_pickle_is_no_pickle(tiny_actor: Path, tmp_path: Path) -> None:
    content = tiny_actor.read_bytes()
    length = int.from_bytes(content[:8], "little")
    padding = (0x80 - length) % 256  # safetensors pads headers with spaces
    path = tmp_path / "padded.actor"
    path.write_bytes(
        (length + padding).to_bytes(8, "little") + content[8 : 8 + length] + b" " * padding + content[8 + length :]
    )
    assert path.read_bytes()[:1] == b"\x80"
    assert Actor.load(path).schema == Actor.load(tiny_actor).schema


def test_a_huge_header_is_refused_before_it_is_read(tmp_path: Path) -> None:
    path = tmp_path / "huge.actor"
    path.write_bytes(struct.pack("<Q", 1 << 60) + b"{}")
    with pytest.raises(ActorFileError, match="not an actor file"):
        Actor.load(path)


def test_a_tensor_that_claims_more_than_the_file_holds_is_refused(tmp_path: Path) -> None:
    header = {
        "__metadata__": {"avatar": json.dumps({"format": "avatar-actor", "version": 1})},
        "model.x": {"dtype": "F32", "shape": [1 << 40], "data_offsets": [0, 1 << 42]},
    }
    raw = json.dumps(header).encode()
    path = tmp_path / "claims.actor"
    path.write_bytes(struct.pack("<Q", len(raw)) + raw + bytes(64))
    with pytest.raises(ActorFileError, match=r"model\.x"):
        Actor.load(path)


def other_format(document, tensors):
    document["format"] = "something"


def newer(document, tensors):
    document["version"] = 2


def other_method(document, tensors):
    document["method"] = "telepathy"


def other_option(document, tensors):
    document["config"]["hiden"] = 64


def larger_config(document, tensors):
    document["config"]["log2_table"] = 24


def absurd_config(document, tensors):
    document["config"]["hidden"] = 1 << 40


def wrong_shape(document, tensors):
    tensors["model.shell"] = tensors["model.shell"][:-1]


def not_a_number(document, tensors):
    tensors["model.shell"] = tensors["model.shell"] * np.nan


def other_body(document, tensors):
    tensors["body.faces"] = tensors["body.faces"][::-1].copy()


def faces_outside(document, tensors):
    tensors["body.faces"] = np.full_like(tensors["body.faces"], 65535)


@pytest.mark.parametrize(
    "change, words",
    [
        (other_format, "no actor"),
        (newer, "update avatar_core"),
        (other_method, "telepathy"),
        (other_option, "did you mean 'hidden'"),
        (larger_config, "must have shape"),
        (absurd_config, "config|shape"),
        (wrong_shape, "shell"),
        (not_a_number, "NaN"),
        (other_body, "topology"),
        (faces_outside, "faces"),
    ],
)
def test_files_that_do_not_fit_together_are_refused(tiny_actor: Path, tmp_path: Path, change, words: str) -> None:
    path = rewrite(tiny_actor, tmp_path / "changed.actor", change)
    with pytest.raises(AvatarError, match=words):
        Actor.load(path)


def test_the_command_says_one_sentence_and_exits_with_2(tmp_path: Path) -> None:
    path = tmp_path / "none.actor"
    done = avatar("render", str(path))
    assert done.returncode == 2
    assert done.stderr.startswith("error: ") and str(path) in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


def test_a_save_that_fails_keeps_the_old_file(tiny_actor: Path, tmp_path: Path, monkeypatch) -> None:
    path = tmp_path / "keep.actor"
    path.write_bytes(tiny_actor.read_bytes())
    actor = Actor.load(path)

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(ActorFileError, match="No space left"):
        actor.save(path)
    assert path.read_bytes() == tiny_actor.read_bytes()
    assert not list(tmp_path.glob("*.part"))
