"""Projection and rays are inverses, with pixel centres at +0.5."""

from __future__ import annotations

import numpy as np
import pytest

from avatar_core.camera import Camera, CameraError


def make(distortion: tuple[float, ...] = ()) -> Camera:
    base = Camera.look_at(np.array([1.0, 0.5, 3]), np.array([0, 0.2, 0]), 0.7, 64, 48)
    return Camera(64, 48, base.K, base.world_to_camera, np.array(distortion))


@pytest.mark.parametrize("distortion", [(), (0.1, -0.05, 0.002, -0.001), (0.1, -0.05, 0.002, -0.001, 0.01)])
def test_rays_hit_the_pixels_that_they_come_from(distortion: tuple[float, ...]) -> None:
    camera = make(distortion)
    origins, directions = camera.rays()
    pixels, depth = camera.project(origins + 2.5 * directions)
    rows, columns = np.mgrid[0:48, 0:64]
    assert np.abs(pixels - np.stack([columns.ravel() + 0.5, rows.ravel() + 0.5], 1)).max() < 2e-3
    assert np.allclose(depth, 2.5 * directions @ camera.forward, atol=1e-5)


def test_the_target_is_in_the_middle_and_up_is_up() -> None:
    camera = make()
    (middle, above), depth = camera.project(np.array([[0, 0.2, 0], [0, 0.4, 0]]))
    assert np.allclose(middle, [32, 24])
    assert above[1] < middle[1]  # rows count downwards
    assert depth[0] > 0


def test_a_crop_sees_the_same_rays() -> None:
    camera = make()
    whole = camera.rays()[1].reshape(48, 64, 3)
    part = camera.crop(10, 5, 20, 30).rays()[1].reshape(30, 20, 3)
    assert np.allclose(part, whole[5:35, 10:30], atol=1e-6)


def test_scaling_keeps_the_view() -> None:
    camera = make()
    point = np.array([[0.3, 0.1, 0.2]])
    assert np.allclose(camera.scaled(2).project(point)[0], 2 * camera.project(point)[0])


def test_json_round_trip() -> None:
    camera = make((0.1, 0, 0, 0))
    again = Camera.from_dict(camera.to_dict())
    assert np.array_equal(again.K, camera.K) and np.array_equal(again.distortion, camera.distortion)


@pytest.mark.parametrize(
    "change, words",
    [
        ({"world_to_camera": [2.0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1]}, "rotation"),
        ({"K": [float("nan")] * 9}, "finite"),
        ({"K": [1.0] * 4}, "9 numbers"),
        ({"width": 10**9}, "16384"),
        ({"width": "64"}, "whole numbers"),
        ({"distortion": [1, 2, 3]}, "0, 4 or 5"),
    ],
)
def test_bad_cameras_are_refused_with_a_sentence(change: dict, words: str) -> None:
    with pytest.raises(CameraError, match=words):
        Camera.from_dict(make().to_dict() | change)
