"""The rasteriser against its reference, a ray caster's answer near the camera's plane, and finite differences."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from avatar_core.camera import Camera
from avatar_core.cuda import backend
from avatar_core.cuda.raster import (
    Raster,
    homogeneous_pixels,
    interpolate,
    interpolate_reference,
    rasterise,
    rasterise_reference,
)

gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")


def soup(count: int, height: int, width: int, seed: int, behind: bool = False) -> tuple[torch.Tensor, torch.Tensor]:
    """Random triangles all over a picture; with `behind`, corners on both sides of the camera's plane."""
    random = torch.Generator().manual_seed(seed)
    pixels = (torch.rand(3 * count, 2, generator=random) * 1.4 - 0.2) * torch.tensor([width, height])
    depth = torch.rand(3 * count, 1, generator=random) * 3 + (-1 if behind else 0.5)
    positions = torch.cat([pixels * depth, depth], 1)
    return positions, torch.randperm(3 * count, generator=random).view(count, 3)


def assert_same(one: Raster, other: Raster) -> None:
    assert (one.face != other.face).sum() == 0
    torch.testing.assert_close(one.bary, other.bary, atol=1e-5, rtol=0)
    torch.testing.assert_close(one.depth, other.depth, atol=0, rtol=1e-5)


@pytest.mark.parametrize("behind", [False, True])
@pytest.mark.parametrize(("count", "height", "width"), [(0, 5, 7), (1, 9, 70), (40, 33, 100), (300, 64, 48)])
def test_equals_reference(count: int, height: int, width: int, behind: bool) -> None:
    positions, faces = soup(count, height, width, count, behind)
    found = rasterise(positions, faces, height, width)
    assert_same(found, rasterise_reference(positions, faces, height, width))
    assert found.face.dtype == torch.int64 and found.depth.isinf().equal(found.face < 0)


def test_gradients_equal_reference() -> None:
    positions, faces = soup(60, 40, 50, 1, behind=True)
    random = torch.Generator().manual_seed(2)
    attributes, weight = torch.randn(180, 5, generator=random), torch.randn(40, 50, 5, generator=random)
    results = []
    for draw, mix in ((rasterise, interpolate), (rasterise_reference, interpolate_reference)):
        p, a = positions.clone().requires_grad_(), attributes.clone().requires_grad_()
        raster = draw(p, faces, 40, 50)
        values = mix(a, faces, raster.face, raster.bary)
        depth = torch.where(raster.face < 0, 0, raster.depth)
        ((values * weight).sum() + (depth * weight[..., 0]).sum()).backward()
        results.append((values.detach(), p.grad, a.grad))
    for native, reference in zip(*results, strict=True):
        torch.testing.assert_close(native, reference, rtol=1e-3, atol=1e-4 * float(reference.abs().max()))


def test_reference_gradients_are_exact() -> None:
    positions, faces = soup(4, 6, 6, 3)
    positions, attributes = positions.double().requires_grad_(), torch.randn(12, 2).double().requires_grad_()

    def picture(p: torch.Tensor, a: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        raster = rasterise_reference(p, faces, 6, 6)
        depth = torch.where(raster.face < 0, 0, raster.depth)
        return interpolate_reference(a, faces, raster.face, raster.bary), depth

    assert torch.autograd.gradcheck(picture, (positions, attributes), eps=1e-7, atol=1e-5)


@pytest.mark.parametrize("seed", range(4))
def test_shared_edges_are_drawn_once(seed: int) -> None:
    """A plane of triangles, corners on pixel centres among them: each pixel within belongs to exactly one."""
    side, random = 9, torch.Generator().manual_seed(seed)
    y, x = torch.meshgrid(torch.arange(side), torch.arange(side), indexing="ij")
    pixels = torch.stack([x, y], -1).view(-1, 2) * 4 + 0.5
    if seed:
        pixels += torch.randint(-1, 2, (side * side, 2), generator=random) * (0.5 if seed == 1 else 0.3)
    corner = (y * side + x)[:-1, :-1].reshape(-1)
    faces = torch.cat(
        [
            torch.stack([corner, corner + 1, corner + side], 1),
            torch.stack([corner + 1, corner + side + 1, corner + side], 1),
        ]
    )
    faces[::3] = faces[::3, [0, 2, 1]]  # both windings
    depth = 2.0 ** torch.randint(-3, 4, (side * side, 1), generator=random)  # moves no corner off its centre
    if seed > 1:
        depth = torch.rand(side * side, 1, generator=random) * 5 + 0.1
    positions = torch.cat([pixels * depth, depth], 1)
    counts = torch.stack([rasterise(positions, one[None], 34, 34).face >= 0 for one in faces]).sum(0)
    assert counts.max() == 1 and bool((counts[2:31, 2:31] == 1).all())
    if seed == 0:  # corners on centres: left and top pixels belong to the plane, right and bottom ones do not
        assert bool((counts[:32, :32] == 1).all()) and int(counts.sum()) == 32 * 32


def test_triangle_through_the_camera_plane() -> None:
    """A floor one metre below, from 2 m behind the camera to 50 m ahead: depth by the rays' own geometry."""
    camera = Camera.look_at(np.zeros(3), np.array([0, 0, -1.0]), np.radians(60), 40, 30)
    floor = torch.tensor([[-99.0, -1, 2], [99, -1, 2], [99, -1, -50], [-99, -1, -50]])
    raster = rasterise(homogeneous_pixels(floor, camera), torch.tensor([[0, 1, 2], [0, 2, 3]]), 30, 40)
    _, rays = camera.rays()
    drop = torch.from_numpy(rays[:, 1] / (rays @ camera.forward.astype(np.float32))).view(30, 40)
    expected = torch.where(drop < -1 / 50, -1 / drop, torch.inf)
    torch.testing.assert_close(raster.depth, expected, rtol=1e-4, atol=0)
    points = interpolate(floor, torch.tensor([[0, 1, 2], [0, 2, 3]]), raster.face, raster.bary)
    torch.testing.assert_close(points[raster.face >= 0][:, 2], -expected[raster.face >= 0], rtol=1e-4, atol=0)


def test_camera_and_raster_agree() -> None:
    camera = Camera.look_at(np.array([1.0, 2, 3]), np.zeros(3), 0.7, 64, 48)
    points = torch.randn(50, 3)
    pixels, depth = camera.project(points.numpy())
    found = homogeneous_pixels(points, camera)
    torch.testing.assert_close(found[:, :2] / found[:, 2:], torch.from_numpy(pixels).float(), rtol=1e-4, atol=1e-3)
    torch.testing.assert_close(found[:, 2], torch.from_numpy(depth).float(), rtol=1e-4, atol=1e-5)
    bent = Camera(8, 8, camera.K, camera.world_to_camera, np.array([0.1, 0, 0, 0]))
    with pytest.raises(ValueError, match="distortion"):
        homogeneous_pixels(points, bent)


def test_texture_space() -> None:
    """A square texture of two triangles is covered wholly, and finds its own coordinates again."""
    uv = torch.tensor([[0.0, 0], [1, 0], [1, 1], [0, 1]])
    positions = torch.cat([uv * 16, torch.ones(4, 1)], 1)
    faces = torch.tensor([[0, 1, 2], [0, 2, 3]])
    raster = rasterise(positions, faces, 16, 16)
    found = interpolate(uv, faces, raster.face, raster.bary)
    centres = (torch.arange(16) + 0.5) / 16
    torch.testing.assert_close(found[..., 0], centres.expand(16, 16))
    torch.testing.assert_close(found[..., 1], centres[:, None].expand(16, 16))
    outside = rasterise(positions + torch.tensor([1e6, 0, 0]), faces, 16, 16)
    assert bool((outside.face == -1).all())


def test_the_first_of_equal_faces_wins() -> None:
    positions = torch.tensor([[0.0, 0, 1], [20, 0, 1], [0, 20, 1]])
    assert int(rasterise(positions, torch.tensor([[0, 1, 2]] * 3), 8, 8).face.max()) == 0


def test_views_and_other_integers() -> None:
    positions, faces = soup(20, 16, 16, 5)
    plain = rasterise(positions, faces, 16, 16)
    assert_same(plain, rasterise(positions.T.contiguous().T, faces.int().T.contiguous().T, 16, 16))
    wide = torch.randn(60, 6)
    half = interpolate(wide[:, ::2], faces, plain.face, plain.bary)
    torch.testing.assert_close(half, interpolate_reference(wide[:, ::2], faces, plain.face, plain.bary))


@pytest.mark.parametrize("height,width", [(0, 5), (5, 0), (0, 0), (1, 1)])
def test_small_pictures(height: int, width: int) -> None:
    positions, faces = soup(5, 4, 4, 6)
    raster = rasterise(positions.requires_grad_(), faces, height, width)
    values = interpolate(torch.ones(15, 2), faces, raster.face, raster.bary)
    assert values.shape == (height, width, 2)
    raster.bary.sum().backward()
    assert positions.grad is not None and bool(positions.grad.isfinite().all())


@pytest.mark.parametrize("seed", range(30))
def test_anything_goes(seed: int) -> None:
    """Numbers that are not, infinite, huge, tiny, zero and equal ones; degenerate faces."""
    random = np.random.default_rng(seed)
    odd = [np.nan, np.inf, -np.inf, 3e38, -3e38, 1e20, 1e-38, -1e-45, 0.0, 1.0]
    positions = random.normal(8, 10, (40, 3)).astype(np.float32)
    chosen = random.random((40, 3)) < 0.2
    positions[chosen] = random.choice(np.array(odd, np.float32), int(chosen.sum()))
    faces = torch.from_numpy(random.integers(0, 40, (60, 3)))
    leaf = torch.from_numpy(positions).requires_grad_()
    raster = rasterise(leaf, faces, 20, 24)
    seen = raster.face >= 0
    assert bool(raster.bary.isfinite().all()) and bool((raster.depth > 0).all())
    assert bool(leaf.detach()[faces[raster.face[seen]]].isfinite().all())
    assert bool((rasterise_reference(leaf, faces, 20, 24).face >= -1).all())
    interpolate(leaf, faces, raster.face, raster.bary).sum().backward()


def test_says_what_is_wrong() -> None:
    positions, faces = soup(2, 4, 4, 0)
    raster = rasterise(positions, faces, 4, 4)
    for arguments, text in (
        ((positions[:, :2], faces, 4, 4), r"\[V, 3\]"),
        ((positions.long(), faces, 4, 4), "floats"),
        ((positions, faces.float(), 4, 4), "integers"),
        ((positions, faces + 1, 4, 4), "outside of the 6 vertices"),
        ((positions, faces - 1, 4, 4), "outside of the 6 vertices"),
        ((positions, faces, -1, 4), "pixels a side"),
        ((positions, faces, 4, 1 << 20), "pixels a side"),
        ((positions, faces.to("meta"), 4, 4), "one device"),
    ):
        with pytest.raises(ValueError, match=text):
            rasterise(*arguments)
    for inputs, text in (
        ((positions[0], faces, raster.face, raster.bary), r"\[V, C\]"),
        ((positions.double(), faces, raster.face, raster.bary), "one type"),
        ((positions, faces, raster.face.int(), raster.bary), "int64"),
        ((positions, faces, raster.face[:2], raster.bary), r"\[H, W, 3\]"),
        ((positions, faces[:0], raster.face, raster.bary), "outside of the 0 faces"),
        ((positions[:3], faces, raster.face, raster.bary), "outside of the 3 vertices"),
    ):
        with pytest.raises(ValueError, match=text):
            interpolate(*inputs)


def test_runs_natively_here() -> None:
    """Else the tests above compare the reference with itself."""
    if backend().name != "native":
        pytest.skip(backend().reason)
    assert rasterise(*soup(3, 8, 8, 0), 8, 8).bary.grad_fn is None
    positions, faces = soup(3, 8, 8, 0)
    assert "Rasterise" in str(rasterise(positions.requires_grad_(), faces, 8, 8).bary.grad_fn)


@gpu
@pytest.mark.gpu
@pytest.mark.parametrize("behind", [False, True])
def test_cuda_equals_native(behind: bool) -> None:
    positions, faces = soup(500, 70, 90, 7, behind)
    attributes = torch.randn(1500, 4)
    results = []
    for device in ("cpu", "cuda"):
        p, a = (tensor.detach().to(device).requires_grad_() for tensor in (positions, attributes))
        raster = rasterise(p, faces.to(device), 70, 90)
        values = interpolate(a, faces.to(device), raster.face, raster.bary)
        (values.square().sum() + torch.where(raster.face < 0, 0, raster.depth).sum()).backward()
        assert p.grad is not None and a.grad is not None
        results.append([t.detach().cpu() for t in (raster.face, raster.bary, raster.depth, values, p.grad, a.grad)])
    for native, cuda in zip(*results, strict=True):
        if native.dtype == torch.int64:
            assert native.equal(cuda)
        else:
            scale = float(native[native.isfinite()].abs().max())
            torch.testing.assert_close(cuda, native, rtol=1e-3, atol=1e-4 * scale)
