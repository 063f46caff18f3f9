"""One reader of OBJ files for scans, tracked heads and released bodies."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from avatar_core.data.wavefront import ObjError, ObjFile, read_wavefront

SQUARE = "mtllib x.mtl\n\n# a square\nv 0 0 0\nv 1 0 0 0.5 0.5 0.5\n v\t1 1 0\nv 0 1 0\nvt 0 0\nvt 1 1 0\n"


def read(path: Path, text: str, triangles: bool = False) -> ObjFile:
    file = path / "x.obj"
    file.write_text(text)
    return read_wavefront(file, triangles)


@pytest.mark.parametrize("corner", ["{v}", "{v}/{t}", "{v}//1", "{v}/{t}/1"])
def test_polygons_become_triangles(tmp_path: Path, corner: str) -> None:
    face = " ".join(corner.format(v=v, t=1 + v % 2) for v in (1, 2, 3, 4))
    found = read(tmp_path, f"{SQUARE}f {face}\n")
    np.testing.assert_array_equal(found.faces, [[0, 1, 2], [0, 2, 3]])
    np.testing.assert_array_equal(found.vertices[1:3], [[1, 0, 0], [1, 1, 0]])
    assert found.library == "x.mtl" and found.face_lines.tolist() == [10, 10]
    assert found.vertex_lines.tolist() == [4, 5, 6, 7]
    if "{t}" in corner:
        np.testing.assert_array_equal(found.face_uv, [[1, 0, 1], [1, 1, 0]])
    else:
        assert found.face_uv is None


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("v 0 0 0\n", "needs lines 'v' and 'f'"),
        (f"{SQUARE}f 1 2 9", "line 10: a face points outside of its 4 vertices"),
        (f"{SQUARE}f 1 2 3\nf 1 2 -1", "line 11: a face points outside of its 4 vertices"),
        (f"{SQUARE}f 1/1 2/2 3/3", "line 10: a face points outside of its 2 texture coordinates"),
        (f"{SQUARE}f 1 2 3 4", "line 10: a face must be a triangle"),
        (f"{SQUARE}f 1 2", "line 10: a face must be a triangle"),
        (f"{SQUARE}f 1 2 3\nf 1/1 2/1 3/1", "in several ways"),
        (f"{SQUARE}f 1 2 3\nf 1 x 3", "line 11: 'x' is no corner"),
        (f"{SQUARE}f 1 2 99999999999999999999", "'99999999999999999999' is no corner"),
        (f"{SQUARE}v 1 0 nan\nf 1 2 3", "line 10: 'nan' is no number"),
        (f"{SQUARE}v 1 x 2\nf 1 2 3", "line 10: 'x' is no number"),
        (f"{SQUARE}vt 1\nf 1 2 3", "line 10: 'vt' needs 2 numbers, has 1"),
    ],
)
def test_what_is_wrong_is_said_with_its_line(tmp_path: Path, text: str, words: str) -> None:
    with pytest.raises(ObjError, match=r"x\.obj") as caught:
        read(tmp_path, text, triangles=True)
    assert words in str(caught.value)


def test_a_missing_file_is_said(tmp_path: Path) -> None:
    with pytest.raises(ObjError, match=r"nobody\.obj is missing"):
        read_wavefront(tmp_path / "nobody.obj")
