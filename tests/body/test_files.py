"""Users' body files: every published flavour is read, nothing in them is ever run, damage is told in one
sentence."""

from __future__ import annotations

import io
import os
import pickle
import struct
import sys
import types
import zipfile
from pathlib import Path

import numpy as np
import pytest
from scipy import sparse
from smpl_files import smpl_entries, smplx_entries, write_pkl

from avatar_core.body import BodyFileError, load_body
from avatar_core.body.files import read_body, write_body

MARKER = "avatar_body_test_marker"


@pytest.fixture(scope="module")
def entries() -> dict:
    return smpl_entries(load_body())


@pytest.mark.parametrize("protocol", [0, 2, 4, 5])
def test_pickles_of_every_age_are_read(tmp_path: Path, entries: dict, protocol: int) -> None:
    fewer = {**entries, "posedirs": np.asarray(entries["posedirs"][:, :, :0])}
    del fewer["posedirs"]
    fewer["shapedirs"] = np.asfortranarray(entries["shapedirs"])
    body = load_body(write_pkl(tmp_path / "body.pkl", fewer, protocol))
    template = load_body()
    assert body.name == "smpl" and body.joint_names == template.joint_names and body.posedirs is None
    np.testing.assert_array_equal(body.faces, template.faces)
    np.testing.assert_allclose(body.shapedirs, template.shapedirs, atol=1e-7)
    np.testing.assert_allclose(body.joints(), template.joints(), atol=1e-6)


def test_sparse_and_chumpy_entries_are_read_without_chumpy(tmp_path: Path, entries: dict) -> None:
    chumpy = types.ModuleType("chumpy")
    ch, reordering = types.ModuleType("chumpy.ch"), types.ModuleType("chumpy.reordering")
    ch.Ch = type("Ch", (), {"__module__": "chumpy.ch"})  # type: ignore[attr-defined]
    reordering.Select = type("Select", (ch.Ch,), {"__module__": "chumpy.reordering"})  # type: ignore[attr-defined]
    vertices, directions = ch.Ch(), reordering.Select()
    vertices.x = entries["v_template"]
    inner = ch.Ch()
    inner.x = np.concatenate([entries["shapedirs"].ravel(), np.zeros(7)])
    count = entries["shapedirs"].size
    directions.a, directions.idxs, directions.preferred_shape = (
        inner,
        np.arange(count),
        entries["shapedirs"].shape,
    )
    changed = {**entries, "v_template": vertices, "shapedirs": directions}
    changed["J_regressor"] = sparse.csc_matrix(entries["J_regressor"])
    modules = {"chumpy": chumpy, "chumpy.ch": ch, "chumpy.reordering": reordering}
    sys.modules.update(modules)
    try:
        files = [write_pkl(tmp_path / f"{protocol}.pkl", changed, protocol) for protocol in (0, 2)]
    finally:
        for name in modules:
            del sys.modules[name]
    for file in files:
        body = load_body(file)
        np.testing.assert_allclose(body.vertices, load_body().vertices, atol=1e-7)
        np.testing.assert_allclose(body.shapedirs, load_body().shapedirs, atol=1e-7)
        np.testing.assert_allclose(body.regressor, load_body().regressor, atol=1e-7)


@pytest.mark.parametrize("layout", ["csr_matrix", "coo_matrix", "csc_array"])
def test_every_sparse_layout(tmp_path: Path, entries: dict, layout: str) -> None:
    changed = {**entries, "J_regressor": getattr(sparse, layout)(entries["J_regressor"])}
    body = load_body(write_pkl(tmp_path / "body.pkl", changed))
    np.testing.assert_allclose(body.regressor, load_body().regressor, atol=1e-7)


def test_smplx_npz_has_hands_face_and_texture_coordinates(tmp_path: Path) -> None:
    np.savez_compressed(tmp_path / "SMPLX.npz", **smplx_entries(load_body()))
    body = load_body(tmp_path / "SMPLX.npz")
    assert body.name == "smplx" and len(body.joint_names) == 55
    assert body.joint_names[22:26] == ("jaw", "left_eye", "right_eye", "left_index1")
    assert body.shapedirs.shape[2] == 10 and body.expressions.shape[2] == 10
    np.testing.assert_allclose(body.expressions, load_body().expressions[:, :, :10], atol=1e-7)
    assert len(body.face_uv) == len(body.faces)


def test_packed_bodies_come_back(tmp_path: Path) -> None:
    write_body(tmp_path / "body.npz", load_body())
    assert load_body(tmp_path / "body.npz").topology_hash == load_body().topology_hash


class _Malicious:
    def __init__(self, function: object, *args: object) -> None:
        self.call = (function, args)

    def __reduce__(self) -> tuple:
        return self.call


@pytest.mark.parametrize(
    "attack",
    [
        _Malicious(os.system, f"touch {MARKER}"),
        _Malicious(eval, f"open('{MARKER}', 'w')"),
        _Malicious(exec, f"open('{MARKER}', 'w')"),
        _Malicious(getattr, "text", "join"),
        _Malicious(np.load, MARKER),
        _Malicious(np.fromfile, MARKER),
        _Malicious(sparse.load_npz, MARKER),
    ],
    ids=["system", "eval", "exec", "getattr", "np.load", "np.fromfile", "load_npz"],
)
@pytest.mark.parametrize("protocol", [0, 2, 4])
def test_programs_in_pickles_are_refused_not_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, attack: object, protocol: int
) -> None:
    monkeypatch.chdir(tmp_path)
    for content in (attack, {"v_template": attack}, [attack]):
        file = write_pkl(tmp_path / "evil.pkl", content, protocol)  # type: ignore[arg-type]
        with pytest.raises(BodyFileError, match="may run code"):
            load_body(file)
    assert not (tmp_path / MARKER).exists()


@pytest.mark.parametrize(
    "program",
    [
        b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n(I1000000000000\ntS'b'\ntR.",  # 1 TB
        b"\x80\x04]\x94r\xff\xff\xff\xff.",  # a memo slot at 2^32 - 1
        b"\x80\x04\x8e" + struct.pack("<Q", 1 << 60) + b"x.",  # a string of 2^60 bytes
        b"\x80\x05\x96" + struct.pack("<Q", 1 << 40) + b"x.",  # a buffer of 1 TB
        b"cnumpy\nndarray\n(dS'__setstate__'\nNsb.",  # sets attributes of a class
        b"(cnumpy\nndarray\no}S'args'\nNsb.",
        b"\x80\x02cnumpy\nndarray\n)\x81N}X\x04\x00\x00\x00kindK\x01s\x86b.",
        b"Pid\n.",
        b"." * 10,
        b"",
    ],
)
def test_hostile_and_broken_pickles_end_in_one_sentence(tmp_path: Path, program: bytes) -> None:
    (tmp_path / "evil.pkl").write_bytes(program)
    with pytest.raises(BodyFileError, match=r"evil\.pkl"):
        load_body(tmp_path / "evil.pkl")
    (tmp_path / "good.pkl").write_bytes(pickle.dumps({"v_template": np.zeros((2, 3))}))
    with pytest.raises(BodyFileError, match="entry 'f' is missing"):  # and reading still works
        load_body(tmp_path / "good.pkl")


def test_arrays_that_claim_more_than_they_hold_are_refused(tmp_path: Path, entries: dict) -> None:
    data = pickle.dumps({**entries, "v_template": np.zeros((7, 3))}, protocol=2)
    damaged = data.replace(b"K\x07K\x03\x86", b"J\xff\xff\xff\x7fK\x03\x86", 1)
    assert damaged != data
    (tmp_path / "body.pkl").write_bytes(damaged)
    with pytest.raises(BodyFileError, match="'v_template' is not a usable array"):
        load_body(tmp_path / "body.pkl")


@pytest.mark.parametrize("share", [0.1, 0.6, 0.99])
@pytest.mark.parametrize("suffix", ["pkl", "npz"])
def test_truncated_files(tmp_path: Path, entries: dict, suffix: str, share: float) -> None:
    file = tmp_path / f"body.{suffix}"
    if suffix == "pkl":
        write_pkl(file, {name: entries[name] for name in ("v_template", "f")})
    else:
        write_body(file, load_body())
    data = file.read_bytes()
    file.write_bytes(data[: int(len(data) * share)])
    with pytest.raises(BodyFileError, match="damaged or truncated"):
        load_body(file)


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("weights", np.zeros((5, 24)), r"'weights' must be numbers of 13886 x 24, got shape \(5, 24\)"),
        ("v_template", np.zeros((13886, 2)), "'v_template' must be numbers of any x 3"),
        ("posedirs", np.zeros((13886, 3, 459)), "'posedirs' must be numbers of 13886 x 3 x 207"),
        ("J_regressor", np.zeros((13886, 24)), "'J_regressor' must be numbers of 24 x 13886"),
        ("kintree_table", np.zeros((2, 24), np.int64), "'kintree_table' must count"),
        ("kintree_table", np.stack([np.full(24, 30), np.arange(24)]), "'kintree_table' must name an earlier"),
        ("f", np.full((9, 3), 20000), "'faces' points outside"),
        ("v_template", np.array(["a"] * 3).reshape(1, 3), "must be numbers"),
        ("v_template", np.full((13886, 3), np.inf), "finite"),
        ("v_template", np.full((13886, 3), 1e300), "finite"),  # not in float32
    ],
)
def test_wrong_entries_say_what_was_expected(
    tmp_path: Path, entries: dict, name: str, value: np.ndarray, message: str
) -> None:
    file = tmp_path / "body.npz"
    np.savez(file, **{**entries, name: value})
    with pytest.raises(BodyFileError, match=message) as caught:
        load_body(file)
    assert "body.npz" in str(caught.value)


def test_object_arrays_are_refused_where_they_matter(tmp_path: Path, entries: dict) -> None:
    np.savez(tmp_path / "body.npz", **{**entries, "J_regressor": np.array({"a": 1}, dtype=object)})
    with pytest.raises(BodyFileError, match=r"body\.npz: entry 'J_regressor' holds Python objects"):
        load_body(tmp_path / "body.npz")


def _npz_with(header: bytes, body: bytes) -> bytes:
    npy = io.BytesIO()
    npy.write(b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header + body)
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("meta.npy", npy.getvalue())
    return file.getvalue()


@pytest.mark.parametrize(
    "header",
    [
        b"{'descr': '<f4', 'fortran_order': False, 'shape': (1000000000000,), }\n",
        b"{'descr': '<f4', 'fortran_order': False, 'shape': (-4,), }\n",
        b"{'descr': '|O', 'fortran_order': False, 'shape': (1,), }\n",
        b"{'descr': '<f4', 'shape': __import__('os'), }\n",
        b"(" * 9000 + b"\n",
        b"",
    ],
)
def test_hostile_array_headers(tmp_path: Path, header: bytes) -> None:
    (tmp_path / "body.npz").write_bytes(_npz_with(header, b"\0" * 64))
    with pytest.raises(BodyFileError, match=r"body\.npz"):
        load_body(tmp_path / "body.npz")


def test_zip_bombs_are_capped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from avatar_core.body import arrays

    size = 8 << 20
    header = f"{{'descr': '|u1', 'fortran_order': False, 'shape': ({size},), }}\n".encode()
    bomb = tmp_path / "body.npz"
    bomb.write_bytes(_npz_with(header, b"\0" * size))
    assert bomb.stat().st_size < 20_000
    with pytest.raises(BodyFileError, match="more than it may hold"):
        arrays.read_npz(bomb, limit=1 << 20)


def test_other_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(BodyFileError, match=r"no body file at .*nowhere\.npz"):
        load_body(tmp_path / "nowhere.npz")
    (tmp_path / "body.fbx").write_bytes(b"x")
    with pytest.raises(BodyFileError, match=r"neither \.npz nor \.pkl"):
        load_body(tmp_path / "body.fbx")
    np.savez(tmp_path / "other.npz", a=np.zeros(3))
    with pytest.raises(BodyFileError, match="no body of the SMPL family"):
        load_body(tmp_path / "other.npz")


def test_flame_and_unknown_skeletons_get_joint_names(tmp_path: Path) -> None:
    count = 6
    common = {
        "v_template": np.random.default_rng(0).normal(size=(count, 3)),
        "f": np.array([[0, 1, 2], [3, 4, 5]]),
        "shapedirs": np.zeros((count, 3, 20)),
    }
    for joints, family, last in ((5, "flame", "right_eye"), (3, "custom", "joint_02")):
        tree = np.stack([np.arange(-1, joints - 1), np.arange(joints)])
        weights, regressor = np.full((count, joints), 1 / joints), np.full((joints, count), 1 / count)
        np.savez(tmp_path / "b.npz", **common, weights=weights, J_regressor=regressor, kintree_table=tree)
        body = read_body(tmp_path / "b.npz")
        assert body.name == family and body.joint_names[-1] == last
        assert body.expressions.shape[2] == (10 if family == "flame" else 0)
