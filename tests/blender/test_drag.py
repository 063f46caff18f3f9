"""In Blender's own window an actor's picture is dragged from the library into the 3D view."""

from __future__ import annotations

import json
import time
from typing import Any

import numpy as np
import windows
from blenders import Studio
from skimage.io import imread

RING = (255, 153, 51)  # the colour around the feet of what is dragged


def test_a_picture_becomes_an_actor_where_it_is_dropped(studio: Studio, windowed: None) -> None:
    with windows.window(studio, "drag_window") as window:
        places = json.loads(window.wait_for("shown"))
        picture, (first, second), (drop, click) = places["picture"], places["ends"], places["drops"]

        def now(name: str) -> dict[str, Any]:
            (studio.folder / f"ask.{name}").touch()
            return json.loads(window.wait_for(name))

        window.focus()
        window.hold(picture, first)
        time.sleep(2)
        held = imread(window.photograph(studio.folder / "held.png"))[..., :3].astype(int)
        window.mouse("key", "Escape", "sleep", 1, "mouseup", 1, "sleep", 1)
        after_escape = now("after_escape")
        free = imread(window.photograph(studio.folder / "free.png"))[..., :3].astype(int)
        window.drag(picture, first)
        dropped = now("after_drop")
        window.photograph(studio.folder / "let_go.png")
        window.press("ctrl+z")
        time.sleep(1)
        undone = now("after_undo")
        window.drag(picture, (20, windows.HEIGHT - 20))  # the timeline takes no actors
        elsewhere = now("after_timeline")
        window.point(picture)
        window.mouse("click", 1, "sleep", 0.5)
        window.move(picture, second)
        in_hand = now("in_hand")
        window.mouse("click", 1)
        clicked = now("after_click")
        window.point(picture)
        window.mouse("click", 1, "sleep", 0.5)
        window.move(picture, first)
        window.mouse("click", 3)
        left = now("after_right_click")
    assert ring_near(held, first), "a ring shows where it will stand"
    assert not ring_near(free, first)
    nothing: dict[str, Any] = {"feet": [], "seen": [], "collections": 1, "operators": []}
    assert after_escape == undone == elsewhere == in_hand == nothing, "one undo takes it away, the rest leaves nothing"
    for state, wanted in ((dropped, drop), (clicked, click)):
        np.testing.assert_allclose(state["seen"], [wanted], atol=3)
        assert abs(state["feet"][0][2]) < 1e-4, "it stands on the floor"
        assert state["operators"] == ["AVATAR_OT_load_actor"], "whose settings can be changed afterwards"
    assert left == clicked


def ring_near(photograph: np.ndarray, place: tuple[int, int]) -> bool:
    x, y = place
    near = photograph[y - 20 : y + 20, x - 40 : x + 40]
    return bool((np.abs(near - RING).max(-1) < 40).sum() > 20)
