"""The extension in Blender's own window: what an animator sees in the viewport, and Esc."""

from __future__ import annotations

import json

import numpy as np
import pytest
import windows
from blenders import Studio
from skimage.io import imread

from avatar_core.frame import linear_to_srgb

FRAMES = 40  # that are scrubbed; benchmarks/viewport.py scrubs 200
LEAK = 50  # MB that a scrub may add
STEPS_OFF = 4 / 255  # a colour that went through half floats, a display and a screen
FAR = 1e9


@pytest.fixture(scope="module")
def session(studio: Studio, windowed: None) -> dict[str, str]:
    """What the script wrote, by its stages; one Blender for all tests."""
    told = {}
    with windows.window(studio, "live_window", str(FRAMES)) as window:
        told["first"] = window.wait_for("first")
        window.photograph(studio.folder / "first.png")
        (studio.folder / "first.taken").touch()
        for stage in ("scrub", "refused", "off", "rendering"):
            told[stage] = window.wait_for(stage)
        window.press("Escape")
        told["stopped"] = window.wait_for("stopped")
    return told


@pytest.fixture(scope="module")
def seen(studio: Studio, session: dict[str, str]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The photograph of the region [H, W, 3], and the picture that the add-on drew: RGBA, depth."""
    place = json.loads(session["first"])
    with np.load(studio.folder / "first.npz") as stored:
        rgba, depth = stored["rgba"], stored["depth"]
    screen = imread(studio.folder / "first.png")[..., :3] / 255
    height, width = depth.shape
    return screen[place["y"] :, place["x"] :][:height, :width], rgba, depth


def test_colours_are_as_captured(seen: tuple[np.ndarray, np.ndarray, np.ndarray]) -> None:
    screen, rgba, depth = seen
    chest = np.zeros(depth.shape, bool)
    height, width = depth.shape
    chest[: int(height * 0.5), int(width * 0.3) : int(width * 0.7)] = True  # the cube is below
    solid = chest & (rgba[..., 3] > 0.999)
    assert solid.sum() > 1000
    assert np.median(np.abs(screen - linear_to_srgb(rgba[..., :3].clip(0, 1)))[solid]) < STEPS_OFF


def test_an_object_in_front_hides_the_avatar(seen: tuple[np.ndarray, np.ndarray, np.ndarray]) -> None:
    screen, rgba, depth = seen
    colourful = np.ptp(rgba[..., :3], axis=-1) > 0.1
    grey = np.ptp(screen, axis=-1) < 0.02
    behind_cube = colourful & grey & (depth < FAR)
    assert behind_cube.sum() > 200
    rows = np.nonzero(behind_cube)[0]
    assert rows.min() > depth.shape[0] * 0.45


def test_scrubbing_shows_every_pose(session: dict[str, str]) -> None:
    scrub = json.loads(session["scrub"])
    turns = np.diff(np.abs(np.array(scrub["angles"])))
    assert (turns > 0).all()
    assert scrub["memory"][-1] - scrub["memory"][len(scrub["memory"]) // 4] < LEAK


def test_an_orthographic_view_is_refused_with_a_sentence(session: dict[str, str]) -> None:
    assert session["refused"].startswith("Live avatars need a perspective view")


def test_bodies_look_as_before_when_live_is_off(session: dict[str, str]) -> None:
    assert session["off"] == "TEXTURED"


def test_esc_stops_a_render(session: dict[str, str]) -> None:
    stopped = json.loads(session["stopped"])
    assert stopped["how"] == "cancelled"
