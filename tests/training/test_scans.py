"""Scans are made, read, refused with a sentence, and sampled."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest
import torch

from avatar_core.body import load_body
from avatar_core.cli import main
from avatar_core.cuda.closest_point import TriangleBVH
from avatar_core.data.capture import CaptureError
from avatar_core.data.head_capture import open_capture
from avatar_core.data.obj import ScanError, TexturedMesh, check_watertight, read_obj, write_obj
from avatar_core.data.scans import ScanCapture, read_samples
from avatar_core.data.smpl_parameters import read_smpl_parameters
from avatar_core.methods.gdna.body import SmplBody
from training.scans.inside import inside

CORNERS = np.array([[x, y, z] for x in (0, 1) for y in (0, 1) for z in (0, 1)], np.float32)
QUADS = [(0, 1, 3, 2), (4, 6, 7, 5), (0, 4, 5, 1), (2, 3, 7, 6), (0, 2, 6, 4), (1, 5, 7, 3)]


def cube() -> TexturedMesh:
    faces = np.array([[(a, b, c), (a, c, d)] for a, b, c, d in QUADS]).reshape(-1, 3)
    corner_uv = np.tile(np.array([[0.25, 0.25], [0.75, 0.25], [0.75, 0.75]], np.float32), (12, 1, 1))
    texture = np.zeros((8, 8, 3), np.uint8)
    texture[:4, 4:] = 255  # white where u and v are above a half
    return TexturedMesh(CORNERS, faces, corner_uv, texture)


def parameters(path: Path, **changes: object) -> Path:
    values = {"global_orient": (1, 3), "body_pose": (1, 69), "betas": (1, 10), "transl": (1, 3)}
    entries = {name: np.zeros(shape) for name, shape in values.items()} | {"scale": np.ones(1)} | changes
    path.write_bytes(pickle.dumps({name: value for name, value in entries.items() if value is not None}))
    return path


def test_obj_keeps_shape_and_texture(tmp_path: Path) -> None:
    write_obj(tmp_path, "0000", cube())
    again = read_obj(tmp_path / "0000.obj")
    check_watertight(again, "cube")
    assert again.faces.shape == (12, 3) and len(again.vertices) == 8
    bary = np.eye(3)[[2, 0]]
    np.testing.assert_allclose(again.colours(np.array([0, 0]), bary), [[1, 1, 1], [0, 0, 0]], atol=0.05)
    quad = "\n".join(f"f {a + 1}//1 {b + 1}//1 {c + 1}//1 {d + 1}//1" for a, b, c, d in QUADS)
    (tmp_path / "quads.obj").write_text("\n".join("v {} {} {}".format(*place) for place in CORNERS) + "\n" + quad)
    quads = read_obj(tmp_path / "quads.obj")
    check_watertight(quads, "cube")
    assert len(quads.faces) == 12 and quads.texture is None


def test_a_scan_with_a_hole_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    whole = cube()
    write_obj(tmp_path / "THuman2.0_Release" / "0000", "0000", TexturedMesh(whole.vertices, whole.faces[1:]))
    (tmp_path / "THuman2.0_smpl").mkdir()
    parameters(tmp_path / "THuman2.0_smpl" / "0000_smpl.pkl")
    assert main(["prepare", str(tmp_path), "--output", str(tmp_path / "out"), "--points", "1000", "--size", "32"]) == 2
    error = capsys.readouterr().err
    assert "0000.obj is not watertight: 3 edges" in error and len(error.strip().splitlines()) == 1
    turned = whole.faces.copy()
    turned[0] = turned[0, ::-1]
    points = torch.tensor([[0.5, 0.5, 0.5], [0.01, 0.99, 0.5], [1.01, 0.5, 0.5], [-3.0, 0.2, 0.7]])
    tree = TriangleBVH(torch.as_tensor(whole.vertices), torch.as_tensor(whole.faces))
    assert inside(tree, points).tolist() == [True, True, False, False]
    with pytest.raises(ScanError, match="look different ways"):
        check_watertight(TexturedMesh(whole.vertices, turned), "cube")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"body_pose": np.zeros((1, 63))}, "'body_pose' must have 69 numbers, has 63"),
        ({"betas": np.zeros((1, 9))}, "'betas' must have 10 numbers, has 9"),
        ({"transl": None}, "has no 'transl'"),
        ({"scale": np.zeros(1)}, "above 0"),
        ({"global_orient": np.full((1, 3), np.nan)}, "NaN"),
    ],
)
def test_wrong_parameters_are_said(tmp_path: Path, changes: dict[str, object], words: str) -> None:
    with pytest.raises(ScanError, match=words):
        read_smpl_parameters(parameters(tmp_path / "0000_smpl.pkl", **changes))


def test_prepare_says_which_parameters_are_wrong(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_obj(tmp_path / "THuman2.0_Release" / "0000", "0000", cube())
    (tmp_path / "THuman2.0_smpl").mkdir()
    parameters(tmp_path / "THuman2.0_smpl" / "0000_smpl.pkl", body_pose=np.zeros((1, 63)))
    assert main(["prepare", str(tmp_path), "--output", str(tmp_path / "out"), "--points", "1000", "--size", "32"]) == 2
    error = capsys.readouterr().err
    assert "0000_smpl.pkl" in error and "must have 69 numbers, has 63" in error and len(error.splitlines()) == 1


def test_more_betas_are_cut(tmp_path: Path) -> None:
    assert len(read_smpl_parameters(parameters(tmp_path / "x.pkl", betas=np.ones((1, 300)))).betas) == 10


def test_scans_fit_their_bodies(raw_scans: Path, scan_capture: ScanCapture) -> None:
    """A posed body without clothes lies inside of its scan, or nearly; the scan is nowhere far from it."""
    body = SmplBody(load_body())
    for number in range(len(scan_capture.frames)):
        mesh = read_obj(raw_scans / "THuman2.0_Release" / f"{number:04d}" / f"{number:04d}.obj")
        check_watertight(mesh, "made scan")
        controls, samples = scan_capture.frames[number].controls, scan_capture.samples(number)
        posed = body.pose(torch.as_tensor(controls.pose), torch.as_tensor(controls.betas)).vertices
        near = torch.cdist(torch.as_tensor(samples.surface), posed[::3]).amin(1)
        assert float(near.max()) < 0.12 and float(near.mean()) < 0.04


def test_samples_and_pictures_agree(scan_capture: ScanCapture) -> None:
    samples = scan_capture.samples(0)
    assert len(samples.near) == len(samples.space) == len(samples.surface) == 4000
    assert 0.4 < samples.near_inside.mean() < 0.6 and 0.01 < samples.space_inside.mean() < 0.2
    np.testing.assert_allclose(np.linalg.norm(samples.normals, axis=1), 1, atol=1e-4)
    assert samples.colours is not None and samples.colours.min() >= 0 and samples.colours.std() > 0.1
    size = scan_capture.cameras[0].camera.width
    for number in (0, 5):  # a point that a view shows has the normal, and the colour, of that pixel
        camera = scan_capture.cameras[number].camera
        pixels, depth = camera.project(samples.surface)
        column, row = np.floor(pixels).astype(int).clip(0, size - 1).T
        front = np.full((size, size), np.inf)
        np.minimum.at(front, (row, column), depth)
        seen = depth < front[row, column] + 0.01
        for picture, expected in (("normals", samples.normals * 0.5 + 0.5), ("colour", samples.colours)):
            shown = scan_capture.showing(picture, [{}] * len(scan_capture.frames)).image(number, 0)[row, column] / 255
            apart = np.abs(shown[:, :3] - expected)[seen & (shown[:, 3] > 0.99)]
            assert np.median(apart) < 0.06, picture
        within = samples.space_inside & (np.abs(pixels - size / 2) < size / 2).all(1)
        column, row = np.floor(camera.project(samples.space[within])[0]).astype(int).clip(0, size - 1).T
        assert (scan_capture.image(number, 0)[row, column, 3] > 0).mean() > 0.99
    front = scan_capture.showing("shaded", [{}] * len(scan_capture.frames)).image(0, 0)
    assert front[..., 3].any() and front[..., 0].max() <= 204


def test_damaged_captures_are_said(scan_capture: ScanCapture, tmp_path: Path) -> None:
    assert isinstance(open_capture(scan_capture.folder), ScanCapture)
    np.savez(tmp_path / "a.npz", near=np.zeros((5, 3)))
    with pytest.raises(CaptureError, match="no samples"):
        read_samples(tmp_path / "a.npz")
    with np.load(scan_capture.samples_path(0)) as stored:
        np.savez(tmp_path / "b.npz", **{**stored, "near_inside": np.zeros(3)})
    with pytest.raises(CaptureError, match="a value each"):
        read_samples(tmp_path / "b.npz")
