"""A live avatar in Blender's own window, between a red wall and a green box: over Solid, Material Preview and EEVEE.

View transforms are for the scene: Blender applies them in Material Preview and EEVEE. The avatar looks as it was
captured in all three.
"""

from __future__ import annotations

import json
import time
from dataclasses import dataclass

import numpy as np
import pytest
import windows
from blenders import Studio
from skimage.io import imread

from avatar_core.frame import linear_to_srgb

SIZE = 640, 480  # of the window, Blender's least
WALL = np.array((0.7, 0.05, 0.05))  # of inside/shading_window.py, linear
STEPS_OFF = 3 / 255
DIMMED = 0.5  # light that is left around a camera's frame, as Blender has it
BARE = "MATERIAL-AgX-PERSP-BARE"  # without overlays
LOOKS = ("SOLID-Standard-PERSP", "MATERIAL-Standard-PERSP", BARE, "RENDERED-AgX-PERSP", "RENDERED-AgX-CAMERA")
TESTED = tuple(look for look in LOOKS if look != BARE)
PATIENCE = 120  # seconds for Blender to compile its shaders


@dataclass(frozen=True)
class Look:
    """A region as it is on the screen.

    screen: [H, W, 3], [0, 1]. rgba: [H, W, 4], the picture that the add-on drew. framed: [H, W], what the camera's
    frame holds. said: the sentence in the view.
    """

    screen: np.ndarray
    rgba: np.ndarray
    framed: np.ndarray
    said: str

    @property
    def expected(self) -> np.ndarray:
        """[H, W, 3] on the screen, where the avatar is solid and seen."""
        return linear_to_srgb(self.rgba[..., :3].clip(0, 1))

    def scene(self, channel: int) -> np.ndarray:
        """[H, W], where the scene alone is, in the colour of that channel."""
        others = np.delete(self.screen, channel, axis=-1).max(-1)
        return (self.screen[..., channel] > 1.3 * others) & (self.rgba[..., 3] == 0)

    @property
    def ready(self) -> bool:
        return min(self.scene(channel).sum() for channel in (0, 1)) > 200

    @property
    def behind_box(self) -> np.ndarray:
        """[H, W], where the avatar is solid and the box before it, but for the box's left column."""
        rows, columns = np.nonzero(self.scene(1))
        box = np.zeros(self.framed.shape, bool)
        box[rows.min() + 2 : rows.max() - 1, columns.min() : columns.max()] = True
        return box & (self.rgba[..., 3] > 0.999)

    @property
    def seen(self) -> np.ndarray:
        """[H, W], where the avatar is solid and no box near."""
        top = np.nonzero(self.scene(1))[0].min()
        return (self.rgba[..., 3] > 0.999) & (np.arange(len(self.rgba)) < top - 2)[:, None]


@pytest.fixture(scope="module")
def looks(studio: Studio, windowed: None) -> dict[str, Look]:
    """What the window shows in each look; one Blender for all."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(windows, "WIDTH", SIZE[0])
        patch.setattr(windows, "HEIGHT", SIZE[1])
        with windows.window(studio, "shading_window", *LOOKS) as window:
            return {name: _look(studio, window, name) for name in LOOKS}


def _look(studio: Studio, window: windows.Window, name: str) -> Look:
    """As soon as two photographs are the same, and show the scene: shaders are compiled by then."""
    place = json.loads(window.wait_for(name))
    with np.load(studio.folder / f"{name}.npz") as stored:
        rgba = stored["rgba"]
    height, width = rgba.shape[:2]
    corners = np.array(place["frame"])
    (left, bottom), (right, top) = corners.min(0), corners.max(0)
    rows, columns = height - 0.5 - np.arange(height)[:, None], np.arange(width)[None] + 0.5
    framed = (columns > left) & (columns < right) & (rows > bottom) & (rows < top)
    look, deadline = None, time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        photograph = imread(window.photograph(studio.folder / f"{name}.png"))[..., :3] / 255
        screen = photograph[place["y"] :, place["x"] :][:height, :width]
        before, look = look, Look(screen, rgba, framed, place["said"])
        if look.ready and before is not None and np.array_equal(before.screen, screen):
            (studio.folder / f"{name}.taken").touch()
            return look
        time.sleep(0.2)
    raise TimeoutError(f"{name} does not come to rest")


@pytest.mark.parametrize("name", LOOKS)
def test_the_avatar_looks_as_captured(looks: dict[str, Look], name: str) -> None:
    look = looks[name]
    assert look.seen.sum() > 1000
    assert (np.abs(look.screen - look.expected)[look.seen].max(-1) < STEPS_OFF).mean() > 0.99


@pytest.mark.parametrize("name", TESTED)
def test_a_box_in_front_hides_it_and_a_wall_behind_does_not(looks: dict[str, Look], name: str) -> None:
    look = looks[name]
    hidden = look.screen[look.behind_box]
    assert len(hidden) > 300
    assert (hidden[:, 1] > 1.3 * np.delete(hidden, 1, axis=-1).max(-1)).mean() > 0.98
    wall = np.nonzero(look.scene(0))
    before_wall = look.seen[wall[0].min() : wall[0].max(), wall[1].min() : wall[1].max()]
    assert before_wall.sum() > 300  # all of which look as captured


def test_the_view_transform_is_for_the_scene(looks: dict[str, Look]) -> None:
    def wall(name: str) -> np.ndarray:
        return np.median(looks[name].screen[looks[name].scene(0) & looks[name].framed], axis=0)

    for name in ("SOLID-Standard-PERSP", "MATERIAL-Standard-PERSP"):
        np.testing.assert_allclose(wall(name), linear_to_srgb(WALL), atol=STEPS_OFF)
    for name in (BARE, "RENDERED-AgX-PERSP", "RENDERED-AgX-CAMERA"):
        assert np.abs(wall(name) - linear_to_srgb(WALL)).max() > 0.05


def test_it_is_dimmed_around_the_cameras_frame(looks: dict[str, Look]) -> None:
    look = looks["RENDERED-AgX-CAMERA"]
    below = (np.nonzero(look.framed)[0].max() + 3 < np.arange(len(look.framed)))[:, None]
    feet = below & (look.rgba[..., 3] > 0.999)
    assert feet.sum() > 30
    error = np.abs(look.screen - look.expected * DIMMED ** (1 / 2.2))[feet].max(-1)
    assert (error < STEPS_OFF).mean() > 0.9


def test_without_overlays_it_covers_the_box_and_the_view_says_why(looks: dict[str, Look]) -> None:
    look = looks[BARE]
    assert (np.abs(look.screen - look.expected)[look.behind_box].max(-1) < STEPS_OFF).mean() > 0.98
    assert look.said.startswith("Overlays are off")
    assert not any(looks[name].said for name in TESTED)
