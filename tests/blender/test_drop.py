"""In Blender's own window an actor is dragged from the file browser into the 3D view, and undone by a key."""

from __future__ import annotations

import json

import numpy as np
import windows
from blenders import Studio
from skimage.io import imread


def test_an_actor_stands_where_it_is_dropped_until_it_is_undone(studio: Studio, windowed: None) -> None:
    with windows.window(studio, "drop_window") as window:
        places = json.loads(window.wait_for("ready"))
        before = imread(window.photograph(studio.folder / "library.png"))[..., :3]
        window.drag(places["start"], places["end"])
        dropped = json.loads(window.wait_for("dropped"))
        window.photograph(studio.folder / "dropped.png")
        window.press("ctrl+z")
        undone = json.loads(window.wait_for("undone"))
    np.testing.assert_allclose(dropped["seen"], dropped["wanted"], atol=2)
    assert abs(dropped["floor"]) < 1e-4, "it stands on the floor"
    assert undone["clicked"] == [[0, 0, 0]]
    sidebar = before[:, before.shape[1] // 2 :].astype(int)
    skin = (sidebar[..., 0] > sidebar[..., 2] + 40) & (sidebar[..., 0] > 120)
    assert skin.sum() > 100, "the library shows the actor's picture"
