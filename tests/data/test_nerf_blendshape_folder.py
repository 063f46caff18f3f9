"""NeRFBlendShape's folder layout: what is wrong is named with file and frame."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from avatar_core.data.layout import LayoutError
from avatar_core.data.nerf_blendshape import COEFFICIENTS, HeadFolder

FIXTURE = Path(__file__).parent / "reference" / "nbs_fixture"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return Path(shutil.copytree(FIXTURE, tmp_path / "head"))


def edit(folder: Path, change: Callable[[dict[str, Any]], None]) -> None:
    path = folder / "transforms.json"
    data = json.loads(path.read_text())
    change(data)
    path.write_text(json.dumps(data))


def message(action: Callable[[], object]) -> str:
    with pytest.raises(LayoutError) as caught:
        action()
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_pictures_masks_and_boxes(folder: Path) -> None:
    data = HeadFolder.open(folder)
    picture, mask, background = data.picture(1), data.mask(1), data.background()
    assert picture.shape == background.shape == (data.height, data.width, 3) and mask.shape == picture.shape[:2]
    outside = np.abs(picture.astype(int) - background)[~mask].mean()
    assert outside < 8 < np.abs(picture.astype(int) - background)[mask].mean()
    face, mouth = data.boxes(1)
    rows, columns = np.nonzero(mask)
    assert face.left <= columns.mean() < face.right and face.top <= rows.mean() < face.bottom
    for box, outer in ((mouth, face), (face, None)):
        assert 0 < box.left < box.right < data.width and 0 < box.top < box.bottom < data.height
        if outer is not None:
            assert outer.left <= box.left and box.bottom <= outer.bottom and box.top > outer.top


def test_order_split_and_ranges(folder: Path) -> None:
    count = len(HeadFolder.open(folder).frames)
    edit(folder, lambda data: data["frames"].reverse())
    data = HeadFolder.open(folder)
    assert [frame.number for frame in data.frames] == sorted(frame.number for frame in data.frames)
    train, valid, test = data.split(-3)
    assert (len(train), len(valid), len(test)) == (count - 3, 1, 3) and train.stop == test.start == valid.start
    for kind in ("max", "min"):
        (folder / f"{kind}_{COEFFICIENTS}.txt").unlink()
    low, high = data.ranges(-3)  # of those that the file has first: the last by number
    values = np.array([frame.expression for frame in data.frames[3:]], np.float32)
    np.testing.assert_allclose(low, values.min(0), atol=1e-3)
    np.testing.assert_allclose(high, values.max(0), atol=1e-3)
    assert "none is left" in message(lambda: data.split(-count)) and "none is left" in message(lambda: data.ranges(0))


def test_larger_pictures_are_averaged_down(folder: Path) -> None:
    before = HeadFolder.open(folder).picture(0)
    path = folder / "head_imgs" / "0.jpg"
    with Image.open(path) as image:
        image.resize((image.width * 2, image.height * 2), Image.Resampling.NEAREST).save(path, quality=100)
    np.testing.assert_allclose(HeadFolder.open(folder).picture(0), before, atol=24)


def test_what_is_wrong_is_said(folder: Path) -> None:
    def frame(number: int, **changes: Any) -> Callable[[dict[str, Any]], None]:
        return lambda data: data["frames"][number].update(changes)

    def without(name: str) -> Callable[[dict[str, Any]], None]:
        return lambda data: data.pop(name)

    pose = np.eye(4).tolist()
    broken = [[float("nan"), *pose[0][1:]], *pose[1:]]
    for change, words in (
        (frame(2, exp_ori=[0.0] * 45), "frame 2: 'exp_ori' must be 46 numbers, has 45"),
        (frame(1, exp_ori=[0.0] * 45 + [float("nan")]), "frame 1: 'exp_ori' holds NaN"),
        (frame(0, exp_ori="smile"), "frame 0: 'exp_ori' is missing or not numbers"),
        (frame(3, transform_matrix=broken), "frame 3: 'transform_matrix' holds NaN"),
        (frame(3, transform_matrix=(2 * np.eye(4)).tolist()), "frame 3: the rotation in 'transform_matrix'"),
        (frame(3, transform_matrix=pose[:3]), "must be 4 x 4 numbers, has 3 x 4"),
        (frame(1, img_id="../../etc/passwd"), "frame 1: 'img_id' must be a whole number"),
        (frame(1, img_id=0), "frames 0 and 1 have the same img_id 0"),
        (frame(1, img_id=9999), "9999.jpg is missing"),
        (without("fx"), "'fx' must be a number"),
        (without("frames"), "'frames' must be a list"),
        (lambda data: data.update(w=0), "'w' must be 1 to"),
        (lambda data: data.update(w=1e9), "'w' must be"),
        (lambda data: data.update(fx=-5), "camera"),
    ):
        edit(folder, change)
        assert words in message(lambda: HeadFolder.open(folder)), words
        shutil.copyfile(FIXTURE / "transforms.json", folder / "transforms.json")
    (folder / "transforms.json").write_text("{")
    assert "is not JSON" in message(lambda: HeadFolder.open(folder))
    assert "has no transforms.json" in message(lambda: HeadFolder.open(folder / "nowhere"))


def test_missing_and_damaged_files_are_named(folder: Path) -> None:
    data = HeadFolder.open(folder)
    number = data.frames[2].number
    parsing = folder / "parsing" / f"{number}.png"
    parsing.unlink()
    assert f"{number}.png is missing" in message(lambda: HeadFolder.open(folder))
    parsing.write_bytes(b"no picture")
    assert "is damaged or no picture" in message(lambda: HeadFolder.open(folder).mask(2))
    (folder / "ori_imgs" / f"{number}.lms").write_text("1 2\n" * 400)
    assert "must have 478 lines, has 400" in message(lambda: data.boxes(2))
    (folder / "ori_imgs" / f"{number}.lms").write_text("1 2\n" * 477 + "1 two\n")
    assert "line 478: needs 2 numbers" in message(lambda: data.boxes(2))
    (folder / "max_46.txt").write_text("0\n" * 45)
    assert "max_46.txt must have 46 lines, has 45" in message(lambda: data.ranges(-1))
    (folder / "max_46.txt").write_text("-1\n" * 46)
    assert "min_46.txt, line 1 is above max_46.txt's" in message(lambda: data.ranges(-1))
    (folder / "bc.jpg").unlink()
    assert "bc.jpg is missing" in message(lambda: HeadFolder.open(folder))
