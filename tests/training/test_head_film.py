"""The studio's film of a head is in the layout that heads are learnt from."""

from __future__ import annotations

import numpy as np
import pytest

from avatar_core.body import load_body
from avatar_core.body.expressions import EXPRESSIONS
from avatar_core.cli import main
from avatar_core.data.nerf_blendshape import HeadFolder
from training.studio.head import body_expression, head_film


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> HeadFolder:
    folder = tmp_path_factory.mktemp("film") / "head"
    assert main(["capture", "--head", "--output", str(folder), "--frames", "3", "--resolution", "96"]) == 0
    return HeadFolder.open(folder)


def test_pictures_labels_and_landmarks_agree(film: HeadFolder) -> None:
    for frame in range(len(film.frames)):
        mask, picture = film.mask(frame), film.picture(frame).astype(int)
        assert 0.15 < mask.mean() < 0.6 and not mask[:1].any()
        assert np.abs(picture - film.background())[~mask].mean() < 6 < np.abs(picture - film.background())[mask].mean()
        assert np.abs(film.whole(frame).astype(int) - picture)[mask].mean() < 6
        face, mouth = film.boxes(frame)
        assert face.left < mouth.left < mouth.right < face.right and face.top < mouth.top < mouth.bottom
        inside = mask[face.top : face.bottom, face.left : face.right].mean()
        assert inside > 0.35 and mask[mouth.top : mouth.bottom, mouth.left : mouth.right].mean() > 0.8


def test_ranges_are_those_of_the_frames_to_train_on(film: HeadFolder) -> None:
    low, high = film.ranges(-1)
    values = np.array([frame.expression for frame in film.frames[:-1]])
    np.testing.assert_allclose(low, values.min(0), atol=1e-3)
    np.testing.assert_allclose(high, values.max(0), atol=1e-3)


def test_expressions_come_one_by_one_and_together() -> None:
    film = head_film(400, 16, 0)
    assert film.coefficients.shape == (400, len(EXPRESSIONS)) and 0 <= film.coefficients.min() <= 1
    assert (film.coefficients.max(0) >= 0.5).all() and film.coefficients.max() <= 1
    assert 2 < (film.coefficients > 0.1).sum(1).mean() < 12
    names = load_body().expression_names
    driven = body_expression(np.ones(len(EXPRESSIONS)), names)
    assert {name for name, value in zip(names, driven, strict=True) if value == 0} == {
        *("mouthClose", "mouthDimpleLeft", "mouthDimpleRight", "tongueOut"),
    }
