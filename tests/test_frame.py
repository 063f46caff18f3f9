"""Colour spaces round-trip, and files hold what a frame holds."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from avatar_core.errors import AvatarError
from avatar_core.frame import (
    EMPTY_DEPTH,
    Frame,
    linear_to_srgb,
    srgb_to_linear,
    to_png8,
    write_exr,
    write_png,
)


def sample(width: int = 7, height: int = 5) -> Frame:
    rng = np.random.default_rng(0)
    alpha = rng.random((height, width, 1), np.float32)
    rgba = np.concatenate([rng.random((height, width, 3), np.float32) * alpha, alpha], -1)
    return Frame(
        rgba,
        rng.random((height, width), np.float32) * 5,
        np.zeros((height, width, 3), np.float32),
        alpha[..., 0],
    )


def test_srgb_round_trip() -> None:
    values = np.linspace(0, 1, 256)
    assert np.abs(linear_to_srgb(srgb_to_linear(values)) - values).max() < 1e-7
    assert np.isclose(srgb_to_linear(np.array(0.5)), 0.21404, atol=1e-5)


def test_png_is_straight_srgb(tmp_path) -> None:
    frame = sample()
    write_png(tmp_path / "a.png", frame)
    stored = np.asarray(Image.open(tmp_path / "a.png")).astype(float) / 255
    back = srgb_to_linear(stored[..., :3]) * stored[..., 3:]
    assert np.abs(back - frame.rgba[..., :3]).max() < 0.01
    assert not list(tmp_path.glob("*.part"))


def test_an_empty_frame_over_a_background_is_the_background() -> None:
    frame = Frame.empty(4, 3)
    assert (frame.depth == EMPTY_DEPTH).all()
    assert np.allclose(frame.over(np.array([0.2, 0.4, 0.6])), [0.2, 0.4, 0.6])
    assert not to_png8(frame).any()


def test_exr_holds_every_plane_exactly(tmp_path) -> None:
    OpenEXR = pytest.importorskip("OpenEXR")
    frame = sample(33, 9)
    write_exr(tmp_path / "a.exr", frame)
    part = OpenEXR.File(str(tmp_path / "a.exr"), separate_channels=True).channels()
    for i, name in enumerate("RGBA"):
        assert np.array_equal(part[name].pixels, frame.rgba[..., i])
    assert np.array_equal(part["depth.Z"].pixels, frame.depth)
    assert np.array_equal(part["mask.V"].pixels, frame.mask)


def test_a_file_that_cannot_be_written_leaves_nothing(tmp_path) -> None:
    with pytest.raises(AvatarError, match="cannot be written"):
        write_png(tmp_path / "missing" / "a.png", sample())
