"""`avatar export`: a closed, coloured mesh where the pictures show the actor."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from avatar_core.actor import Actor
from avatar_core.camera import Camera
from tests.command import avatar

VERTEX = np.dtype([("place", "<f4", 3), ("colour", "u1", 3)])
FACE = np.dtype([("count", "u1"), ("corners", "<i4", 3)])


def read_ply(path: Path) -> tuple[np.ndarray, np.ndarray]:
    data = path.read_bytes()
    start = data.index(b"end_header\n") + len(b"end_header\n")
    counts = [int(line.split()[2]) for line in data[:start].splitlines() if line.startswith(b"element")]
    vertices = np.frombuffer(data, VERTEX, counts[0], start)
    return vertices, np.frombuffer(data, FACE, counts[1], start + vertices.nbytes)["corners"]


def test_mesh_is_closed_and_lies_in_the_picture(tiny_actor: Path, front_camera: Camera, tmp_path: Path) -> None:
    pytest.importorskip("skimage", reason="scikit-image makes the mesh")
    done = avatar("export", str(tiny_actor), "--detail", "1", "--mesh", str(tmp_path / "rest.ply"))
    assert done.returncode == 0, done.stderr
    vertices, faces = read_ply(tmp_path / "rest.ply")
    edges = np.sort(np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]]), 1)
    assert (np.unique(edges, axis=0, return_counts=True)[1] == 2).all()
    corners = vertices["place"][faces].astype(float)
    volume = np.einsum("ij,ij->", corners[:, 0], np.cross(corners[:, 1], corners[:, 2])) / 6
    assert 0.05 < volume < 0.12  # cubic metres of a person, positive: faces look outwards
    actor = Actor.load(tiny_actor)
    frame = actor.render(actor.schema.neutral(), front_camera, "preview")
    pixels, depth = front_camera.project(vertices["place"])
    x, y = np.floor(pixels).astype(int).T
    assert (frame.mask[y, x] > 0.05).mean() > 0.9
    nearest = np.full(frame.depth.shape, np.inf)
    np.minimum.at(nearest, (y, x), depth)
    seen = np.isfinite(nearest) & (frame.mask > 0.95)
    assert np.median(np.abs(nearest - frame.depth)[seen]) < 0.02  # two cells
    assert np.ptp(vertices["colour"].astype(int), axis=0).min() > 100


def test_a_mesh_for_each_frame(tiny_actor: Path, tmp_path: Path) -> None:
    pytest.importorskip("skimage", reason="scikit-image makes the mesh")
    arguments = ("export", str(tiny_actor), "--motion", "walk", "--frames", "2-3", "--detail", "1", "--mesh")
    done = avatar(*arguments, str(tmp_path / "one.ply"))
    assert done.returncode == 2 and "put # into the name" in done.stderr
    done = avatar(*arguments, str(tmp_path / "all" / "w_###.ply"))
    assert done.returncode == 0, done.stderr
    assert sorted(path.name for path in (tmp_path / "all").iterdir()) == ["w_002.ply", "w_003.ply"]
