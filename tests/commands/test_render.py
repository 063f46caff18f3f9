"""`avatar render`: the picture of the API, in files, by a command."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from avatar_core.actor import Actor
from avatar_core.camera import Camera
from avatar_core.frame import to_png8
from tests.command import avatar


def test_a_shot_gives_the_same_picture_as_the_api(tiny_actor: Path, front_camera: Camera, tmp_path: Path) -> None:
    actor = Actor.load(tiny_actor)
    pose = np.zeros((24, 3), np.float32)
    pose[16, 2] = -1
    frames = [actor.schema.neutral(), replace(actor.schema.neutral(), pose=pose)]
    shot = {"camera": front_camera.to_dict(), "frames": [frame.to_dict() for frame in frames]}
    (tmp_path / "shot.json").write_text(json.dumps(shot))
    output = tmp_path / "out"
    done = avatar(
        "render", str(tiny_actor), "--shot", str(tmp_path / "shot.json"), "--frames", "2", "--output", str(output)
    )
    assert done.returncode == 0, done.stderr
    assert [path.name for path in output.iterdir()] == ["0002.png"]
    expected = to_png8(actor.render(frames[1], front_camera, "preview"))
    stored = np.asarray(Image.open(output / "0002.png"))
    assert np.abs(stored.astype(int) - expected).max() <= 1


@pytest.mark.parametrize(
    "arguments, words",
    [
        (["--motion", "moonwalk"], "walk"),
        (["--frames", "9"], "frames 9-9 are not in the shot"),
        (["--shot", "missing.json"], "missing.json"),
        (["--capture", "nowhere"], "nowhere"),
        (["--device", "gpu9"], "the device 'gpu9' cannot be used"),
    ],
)
def test_wrong_words_are_one_sentence(tiny_actor: Path, arguments: list[str], words: str) -> None:
    done = avatar("render", str(tiny_actor), *arguments)
    assert done.returncode == 2
    assert words in done.stderr and len(done.stderr.strip().splitlines()) == 1


def test_an_actor_says_what_it_is(tiny_actor: Path) -> None:
    done = avatar("inspect", str(tiny_actor))
    assert done.returncode == 0
    assert '"method": "neural_actor"' in done.stdout and "left_elbow" in done.stdout


def test_an_orbit_goes_once_around(tiny_actor: Path, tmp_path: Path) -> None:
    """Four quarter turns: front, side, back, side; the picture files, other planes, and a film of each."""
    output = tmp_path / "orbit"
    done = avatar(
        *("render", str(tiny_actor), "--orbit", "90", "--resolution", "64x48", "--quality", "draft"),
        *("--planes", "color,depth,normal,mask", "--video", "8", "--output", str(output)),
    )
    assert done.returncode == 0, done.stderr
    names = {path.name for path in output.iterdir()}
    assert {f"{plane}.mp4" for plane in ("color", "depth", "normal", "mask")} <= names
    assert {f"{i:04d}.png" for i in range(1, 5)} | {f"depth_{i:04d}.png" for i in range(1, 5)} <= names
    assert not any(name.endswith(".part") for name in names)
    masks = [np.asarray(Image.open(output / f"mask_{i:04d}.png"))[..., 0] > 127 for i in range(1, 5)]
    assert all(mask.sum() > 50 for mask in masks)
    front, side, back, _ = (np.ptp(np.nonzero(mask)[1]) for mask in masks)
    assert front > 1.3 * side and back > 1.3 * side  # arms apart from the front, not from the side
    normal = np.asarray(Image.open(output / "normal_0001.png")).astype(float) / 127.5 - 1
    assert normal[masks[0]][:, 2].mean() > 0.4  # towards the first camera
    av = pytest.importorskip("av")
    with av.open(str(output / "color.mp4")) as film:
        assert len(list(film.decode(video=0))) == 4


def test_poses_and_camera_of_a_published_folder(tiny_actor: Path, tmp_path: Path) -> None:
    folder = Path(__file__).parents[1] / "data" / "reference" / "na_fixture"
    done = avatar(
        *("render", str(tiny_actor), "--capture", str(folder), "--camera", "0002", "--quality", "draft"),
        *("--output", str(tmp_path)),
    )
    assert done.returncode == 0, done.stderr
    pictures = [Image.open(tmp_path / f"{i:04d}.png") for i in range(1, 4)]
    assert pictures[0].size == (80, 96)
    assert all((np.asarray(picture)[..., 3] > 127).sum() > 100 for picture in pictures)


def test_a_stopped_film_leaves_nothing_half(tiny_actor: Path, tmp_path: Path) -> None:
    shot = {
        "camera": Camera.look_at(np.array([0, 0, 3]), np.zeros(3), 0.7, 32, 32).to_dict(),
        "frames": [{}, {"betas": [1] * 99}],
    }
    (tmp_path / "shot.json").write_text(json.dumps(shot))
    output = tmp_path / "out"
    done = avatar(
        "render", str(tiny_actor), "--shot", str(tmp_path / "shot.json"), "--video", "8", "--output", str(output)
    )
    assert done.returncode == 2 and "betas" in done.stderr
    assert [path.name for path in output.iterdir()] == ["0001.png"]
