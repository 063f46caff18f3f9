"""Published recordings of people become captures of ours; what is damaged is said in a sentence."""

from __future__ import annotations

import json
import pickle
import re
from dataclasses import replace
from pathlib import Path

import lmdb
import numpy as np
import pytest
import torch

from avatar_core.cli import main
from avatar_core.data.capture import CaptureError
from avatar_core.data.layout import LayoutError
from avatar_core.data.people.capture import PeopleCapture, write_people
from avatar_core.data.people.lmdb_file import LmdbFile
from avatar_core.data.people.tensor_pickle import tensor_value
from tests.data import people_folders as folders


def convert(root: Path, output: Path, *options: str) -> int:
    return main(["import", "human_view_synthesis_data", str(root), "--output", str(output), *options])


@pytest.fixture(params=["panoptic", "human36m"])
def capture(request: pytest.FixtureRequest, tmp_path: Path) -> PeopleCapture:
    getattr(folders, request.param)(tmp_path / "data")
    assert convert(tmp_path / "data", tmp_path / "capture", "--test-share", "0.2", "--test-cameras", "00") == 0
    return PeopleCapture.open(tmp_path / "capture")


def test_joints_lie_on_the_pictures(capture: PeopleCapture) -> None:
    """World joints through our camera are the points that the data set holds, which it made without a lens."""
    (recording,) = capture.recordings
    joints = recording.joints
    assert len(joints.frames) == folders.FRAMES and joints.test.tolist() == [False] * 4 + [True]
    for number, view in enumerate(recording.cameras):
        camera = replace(view.camera, distortion=np.zeros(0))
        assert view.camera.distortion.tolist() == folders.LENS
        for frame in np.flatnonzero(joints.seen[number]):
            pixels, depth = camera.project(joints.world[frame])
            mean = [17, 18] if capture.skeleton == "panoptic117" else []  # of points, not the point of a mean
            kept = np.setdiff1d(np.arange(len(pixels)), mean)
            np.testing.assert_allclose(pixels[kept], joints.points[number, frame, kept], atol=2e-3)
            assert (depth > 1).all()


def test_pictures_are_copied_and_masks_cut(capture: PeopleCapture) -> None:
    (recording,) = capture.recordings
    picture = recording.picture(1, 3)
    assert picture.shape == (folders.HEIGHT, folders.WIDTH, 4)
    assert np.abs(picture[30, 48].astype(int) - (190, 20, 20, 255)).max() < 8
    assert set(np.unique(picture[..., 3])) == {0, 255} and picture[:, :28, 3].max() == 0
    assert recording.joints.seen.tolist() == [[True] * 5, [False] + [True] * 4]


def test_panoptic_joints_are_those_of_the_method(tmp_path: Path) -> None:
    folder = folders.panoptic(tmp_path / "data")
    convert(tmp_path / "data", tmp_path / "out")
    joints = PeopleCapture.open(tmp_path / "out").recordings[0].joints
    with LmdbFile(folder / "Databases/Poses/3D/BODY_135/Reconstructed.lmdb") as file:
        stored = tensor_value(dict(file.items())[pickle.dumps(2, 4)])[:, :3, 0] * (1, -1, -1)
    np.testing.assert_allclose(joints.world[2, 16], stored[16], atol=1e-6)
    np.testing.assert_allclose(joints.world[2, 17], stored[5:7].mean(0), atol=1e-6)
    np.testing.assert_allclose(joints.world[2, 18], stored[1:5].mean(0), atol=1e-6)
    np.testing.assert_allclose(joints.world[2, [19, 58, 59, 65, 66, 116]], stored[[25, 64, 70, 76, 82, 132]], atol=1e-6)
    assert joints.world_confidence[2, 18] == pytest.approx(0.9) and joints.world_confidence[2, 19] < 0.25


def test_people_whom_training_never_sees_are_as_published(tmp_path: Path) -> None:
    folders.human36m(tmp_path / "data", "S9/Sequences/Photo")
    folders.human36m(tmp_path / "data", "S5/Sequences/Photo_1")
    folders.human36m(tmp_path / "data", "S5/Sequences/Eating")
    convert(tmp_path / "data", tmp_path / "out", "--every", "2")
    capture = PeopleCapture.open(tmp_path / "out")
    assert {one.person: one.split for one in capture.recordings} == {"S5": "train", "S9": "test"}
    assert capture.people == ("S5", "S9") and capture.recordings[0].joints.frames.tolist() == [0, 2, 4]


def test_reader_agrees_with_liblmdb(tmp_path: Path) -> None:
    """Many keys, values of more than a page, pages that were freed and used again."""
    rng = np.random.default_rng(0)
    with lmdb.open(str(tmp_path), map_size=1 << 26) as environment:
        for _ in range(3):
            with environment.begin(write=True) as transaction:
                for key in range(3000):
                    transaction.put(b"%d" % key, rng.bytes(int(rng.integers(0, 200 if key % 50 else 20000))))
                for key in range(0, 3000, 3):
                    transaction.delete(b"%d" % key)
        with environment.begin() as transaction:
            expected = [(bytes(key), bytes(value)) for key, value in transaction.cursor()]
    with LmdbFile(tmp_path) as file:
        assert list(file.items()) == expected


def test_damaged_databases_are_named(tmp_path: Path) -> None:
    """Cut short, overwritten, foreign: always a sentence, never a crash."""
    folders.write_database(tmp_path / "x.lmdb", {n: torch.ones(40, 4, 1) * n for n in range(40)})
    path = tmp_path / "x.lmdb" / "data.mdb"
    whole, rng = path.read_bytes(), np.random.default_rng(0)

    def problem(data: bytes) -> str:
        path.write_bytes(data)
        try:
            with LmdbFile(path.parent) as file:
                for _, value in file.items():
                    try:
                        tensor_value(value)
                    except ValueError as error:
                        return str(error)
        except LayoutError as error:
            assert str(path) in str(error)
            return str(error)
        return ""

    assert "copy or make the database again" in problem(whole[:6000])
    assert "no LMDB file" in problem(b"not a database" * 1000)
    assert "cannot be read: it is empty" in problem(b"")
    found = 0
    for _ in range(150):
        data = bytearray(whole)
        for place in rng.integers(0, len(data), 40):
            data[place] = rng.integers(0, 256)
        found += bool(problem(bytes(data)))
    assert found > 100


class _Trap:
    def __reduce__(self) -> tuple:
        return Path.write_text, (Path("sprung"), "")


@pytest.mark.parametrize(
    "value, words",
    [
        (_Trap(), "names pathlib.*, which no tensor needs|damaged"),
        ([1, 2], "a list where a tensor belongs"),
        (torch.ones(17, 2, 1), "must have 17 x 3 x 1 finite numbers .a row a joint., has 17 x 2 x 1"),
        (torch.ones(16, 3, 1), "must have 17 x 3 x 1 .* has 16 x 3 x 1"),
        (torch.full((17, 3, 1), torch.nan), "17 x 3 x 1 finite numbers"),
        (torch.ones(3, 17, 1).transpose(0, 1), "not stored row by row"),
    ],
)
def test_wrong_joints_are_named(tmp_path: Path, capsys: pytest.CaptureFixture[str], value: object, words: str) -> None:
    folder = folders.human36m(tmp_path / "data")
    database = folder / "Databases/Poses/3D/Groundtruth.lmdb"
    with lmdb.open(str(database), map_size=1 << 24) as environment, environment.begin(write=True) as transaction:
        transaction.put(pickle.dumps(3, 4), pickle.dumps(value, 4))
    assert convert(tmp_path / "data", tmp_path / "out") == 2
    (sentence,) = (line for line in capsys.readouterr().err.splitlines() if line.startswith("error: "))
    assert re.search(words, sentence) and "Groundtruth.lmdb" in sentence
    assert not Path("sprung").exists()


@pytest.mark.parametrize(
    "changes, words",
    [
        ({"dist_coef": [0.1, 0.2, 0.3]}, "camera distortion must have 0, 4 or 5 finite numbers, got 3"),
        ({"K": [[1, 2], [3, 4]]}, "needs K and R of 3 x 3 numbers"),
        ({"K": [[900, 0, 480], [0, 900, 320], [0, 0, 1]]}, "K is for another resolution"),
        ({"R": [[1, 0, 0], [0, 1, 0], [0, 0, float("nan")]]}, "NaN or infinity"),
    ],
)
def test_wrong_cameras_are_named(tmp_path: Path, capsys: pytest.CaptureFixture[str], changes: dict, words: str) -> None:
    path = folders.human36m(tmp_path / "data") / "cameras.json"
    cameras = json.loads(path.read_text())
    cameras["55011271"].update(changes)
    path.write_text(json.dumps(cameras))
    assert convert(tmp_path / "data", tmp_path / "out") == 2
    error = capsys.readouterr().err
    assert words in error and "camera '55011271'" in error


def test_other_folders_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert convert(tmp_path, tmp_path / "out") == 2
    assert "holds neither Panoptic's" in capsys.readouterr().err


@pytest.mark.parametrize(
    "name, change, words",
    [
        ("world", lambda a: a[:, :16], "'world' must be 5 x 17 x 3, is 5 x 16 x 3: there are 17 joints"),
        ("points", lambda a: a * np.nan, "give unknown joints the confidence 0"),
        ("frames", lambda a: a * 0, "different whole numbers"),
        ("seen", lambda a: a & False, "no pictures"),
    ],
)
def test_wrong_joint_files_are_named(tmp_path: Path, name: str, change: object, words: str) -> None:
    folders.human36m(tmp_path / "data")
    convert(tmp_path / "data", tmp_path / "out")
    capture = PeopleCapture.open(tmp_path / "out")
    recording = capture.recordings[0]
    joints = replace(recording.joints, **{name: change(getattr(recording.joints, name))})  # type: ignore[operator]
    with pytest.raises(CaptureError, match=words):
        write_people(capture.folder, "x", "x", capture.skeleton, (0, 0, 0), [replace(recording, joints=joints)])


def test_names_stay_inside_of_the_folder(tmp_path: Path) -> None:
    folders.human36m(tmp_path / "data")
    convert(tmp_path / "data", tmp_path / "out")
    path = tmp_path / "out" / "people.json"
    data = json.loads(path.read_text())
    for name in ("../data", ".", "a/b", 3):
        data["recordings"][0]["name"] = name
        path.write_text(json.dumps(data))
        with pytest.raises(CaptureError, match="the name of a recording"):
            PeopleCapture.open(path.parent)
