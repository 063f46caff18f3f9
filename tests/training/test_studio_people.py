"""People of the studio: they differ, their joints lie on them, and boxes hide what they stand before."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

from avatar_core.cli import main
from avatar_core.data.capture import Capture
from avatar_core.data.people.capture import PeopleCapture
from training.studio.people import Occluder

_TINY = ["--resolution", "64", "--samples", "4", "--threads", "1", "--motion", "wave"]


@pytest.mark.skipif(find_spec("bpy") is None, reason="needs the bpy module")
def test_two_people_behind_boxes(tmp_path: Path) -> None:
    options = ["--people", "2", "--occluders", "10", "--cameras", "4", "--frames", "1", "--output", str(tmp_path)]
    assert main(["capture", *_TINY, *options]) == 0
    capture = PeopleCapture.open(tmp_path)
    assert [one.split for one in capture.recordings] == ["train", "test"]
    assert Capture.open(tmp_path / "person_01").body.name == "template"  # each is a capture of its own
    colours, on, hidden = [], [], []
    for one in capture.recordings:
        pictures = [one.picture(camera, 0) for camera in range(4)]
        colours.append(np.mean([picture[picture[..., 3] > 250][:, :3].mean(0) for picture in pictures], 0))
        for picture, points, sure in zip(pictures, one.joints.points[:, 0], one.joints.confidence[:, 0]):
            column, row = np.floor(points).astype(int).clip(0, 63).T
            found = picture[row, column, 3]
            on.extend(found[sure > 0])
            hidden.extend(found[sure == 0])
    assert np.abs(colours[0] - colours[1]).max() > 8
    assert np.mean(np.array(on) > 128) > 0.85  # the middle of the face of one is not far from its edge
    assert len(hidden) > 8 and np.mean(np.array(hidden) < 128) > 0.8


def test_a_box_hides_what_is_behind_it() -> None:
    box = Occluder(np.array([0.0, 1, 1]), np.array([0.1, 0.2, 0.1]))
    points = np.array([[0, 1, 0], [0, 1, 1.5], [0.2, 1, 0], [0, 1.25, 0], [0, 1.39, 0]])
    assert box.hides(np.array([0.0, 1, 3]), points).tolist() == [True, False, False, True, False]


def test_people_are_the_studio_s_own(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["capture", *_TINY, "--people", "2", "--head", "--output", str(tmp_path)]) == 2
    assert "the studio's own" in capsys.readouterr().err
