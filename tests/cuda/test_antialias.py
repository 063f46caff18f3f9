"""Smooth silhouettes: coverage is the area, and its gradient the length of the edge that moves."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from avatar_core.cuda import optional
from avatar_core.cuda.antialias import antialias, antialias_reference, opposite_vertices
from avatar_core.cuda.raster import Raster, rasterise

FACES = torch.tensor([[0, 1, 2], [0, 2, 3]])
HEIGHT, WIDTH = 12, 16


def rectangle(left: float, top: float, right: float, bottom: float, depth: float = 2.0) -> Tensor:
    corners = [[left, top, 1.0], [right, top, 1.0], [right, bottom, 1.0], [left, bottom, 1.0]]
    return depth * torch.tensor(corners, dtype=torch.float64)


def coverage(positions: Tensor, faces: Tensor = FACES) -> Tensor:
    raster = rasterise(positions, faces, HEIGHT, WIDTH)
    return antialias((raster.face >= 0).to(positions)[..., None], raster, positions, faces)[..., 0]


MIDDLE = slice(3, 8)  # rows and columns away from the corners, where a pixel may show the face without the silhouette


@pytest.mark.parametrize("left", [3.2, 3.49, 3.5, 3.7, 4.0])
def test_coverage_is_the_area(left: float) -> None:
    beside, above = coverage(rectangle(left, 2.0, 11.8, 9.0)), coverage(rectangle(2.0, left, 9.0, 10.8))
    area = torch.tensor([11.8 - left, 10.8 - left], dtype=torch.float64) * 5
    torch.testing.assert_close(torch.stack([beside[MIDDLE].sum(), above[:, MIDDLE].sum()]), area)
    assert beside.min() >= 0 and beside.max() <= 1


@pytest.mark.parametrize("right", [11.3, 11.8])
def test_gradient_of_coverage_is_the_length_of_the_edge(right: float) -> None:
    shift = torch.zeros((), dtype=torch.float64, requires_grad=True)
    moves = torch.tensor([0.0, 1, 1, 0], dtype=torch.float64) * shift
    positions = rectangle(3.3, 2.0, right, 9.0, depth=4.0)
    moved = torch.stack([positions[:, 0] + 4 * moves, positions[:, 1], positions[:, 2]], -1)
    coverage(moved)[MIDDLE].sum().backward()
    assert shift.grad is not None and shift.grad.item() == pytest.approx(5)


def test_gradients_are_right() -> None:
    torch.manual_seed(0)
    positions = rectangle(3.3, 2.2, 11.8, 9.1) + 0.2 * torch.randn(4, 3, dtype=torch.float64)
    raster = Raster(*(part.detach() for part in rasterise(positions, FACES, HEIGHT, WIDTH)))
    picture = torch.randn(HEIGHT, WIDTH, 2, dtype=torch.float64)

    def smooth(picture: Tensor, positions: Tensor) -> Tensor:
        return antialias_reference(picture, raster, positions, FACES)

    assert (smooth(picture, positions) != picture).any(-1).sum() > 20
    assert torch.autograd.gradcheck(smooth, (picture.requires_grad_(), positions.requires_grad_()))


def test_only_silhouettes_are_smoothed() -> None:
    """The diagonal between the two faces of a rectangle is none; a border without common vertices is one."""
    positions = rectangle(2.0, 2.0, 13.0, 9.5)
    apart, faces = positions[FACES].reshape(-1, 3), torch.arange(6).view(2, 3)
    raster = rasterise(positions, FACES, HEIGHT, WIDTH)
    picture = raster.face.double()[..., None].clamp(min=-1)
    inner = (slice(4, 7), slice(4, 11))
    assert antialias(picture, raster, positions, FACES)[inner].equal(picture[inner])
    assert not antialias(picture, raster, apart, faces)[inner].equal(picture[inner])


def test_the_nearer_face_covers_the_other() -> None:
    positions = torch.cat([rectangle(0, 0, WIDTH, HEIGHT, depth=3.0), rectangle(3.25, 2.0, 8.0, 9.0, depth=1.0)])
    faces = torch.cat([FACES, FACES + 4])
    raster = rasterise(positions, faces, HEIGHT, WIDTH)
    front = (raster.face >= 2).double()[..., None]
    torch.testing.assert_close(antialias(front, raster, positions, faces)[5, 2:5, 0].tolist(), [0.0, 0.75, 1.0])


def test_opposite_vertices() -> None:
    assert opposite_vertices(FACES).tolist() == [[0, 3, 2], [0, 2, 1]]


def test_what_makes_no_sense_is_refused_and_what_is_empty_stays() -> None:
    positions = rectangle(2.0, 2.0, 9.0, 9.0).float()
    raster = rasterise(positions, FACES, HEIGHT, WIDTH)
    with pytest.raises(ValueError, match="picture of this raster"):
        antialias(torch.zeros(3, 4, 1), raster, positions, FACES)
    with pytest.raises(ValueError, match="one device"):
        antialias(torch.zeros(HEIGHT, WIDTH, 1, device="meta"), raster, positions, FACES)
    picture, none = torch.rand(HEIGHT, WIDTH, 1), FACES[:0]
    assert antialias(picture, rasterise(positions, none, HEIGHT, WIDTH), positions, none).equal(picture)
    broken = positions.clone()
    broken[1] = torch.nan
    broken[2, 2] = -1
    assert antialias(picture, rasterise(broken, FACES, HEIGHT, WIDTH), broken, FACES).isfinite().all()


@pytest.mark.gpu
@pytest.mark.skipif(
    optional.found("nvdiffrast").module is None, reason=f"nvdiffrast: {optional.found('nvdiffrast').reason}"
)
def test_nvdiffrast_agrees() -> None:
    results = []
    for function in (antialias, antialias_reference):
        positions = rectangle(3.3, 2.2, 11.8, 9.1).float().cuda().requires_grad_()
        faces = FACES.cuda()
        raster = rasterise(positions.detach(), faces, HEIGHT, WIDTH)
        smooth = function((raster.face >= 0).float()[..., None], raster, positions, faces)
        (smooth * torch.arange(WIDTH, device="cuda")[:, None]).sum().backward()
        results.append((smooth.detach(), positions.grad))
    for one, other in zip(*results, strict=True):
        torch.testing.assert_close(one, other, atol=1e-4, rtol=1e-3)
