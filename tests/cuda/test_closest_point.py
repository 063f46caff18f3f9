"""The tree, the search without a compiler, and brute force find the same closest points."""

from __future__ import annotations

import pytest
import torch

from avatar_core.body import load_body
from avatar_core.cuda.closest_point import TriangleBVH, closest_of
from avatar_core.cuda.loader import library


def soup(faces: int, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    vertices = torch.rand(faces + 2, 3, generator=generator)
    return vertices, torch.randint(0, faces + 2, (faces, 3), generator=generator)  # degenerate ones among them


def without_compiler(vertices: torch.Tensor, faces: torch.Tensor) -> TriangleBVH:
    mesh = TriangleBVH(vertices, faces)
    mesh._native = None
    return mesh


@pytest.mark.parametrize("make", [TriangleBVH, without_compiler])
@pytest.mark.parametrize("faces", [1, 2, 9, 300])
def test_soups_agree_with_brute_force(make, faces: int) -> None:
    vertices, triangles = soup(faces, faces)
    points = torch.rand(200, 3, generator=torch.Generator().manual_seed(1)) * 3 - 1
    distance2, face, bary = make(vertices, triangles).closest(points)
    exact = closest_of(points[:, None].double(), vertices[triangles].double()[None])[0]
    torch.testing.assert_close(distance2.sqrt(), exact.sqrt().float(), atol=1e-5, rtol=1e-5)
    place = (vertices[triangles[face]] * bary[..., None]).sum(1)
    torch.testing.assert_close((place - points).norm(dim=1), distance2.sqrt(), atol=1e-5, rtol=1e-4)
    assert (bary > -1e-4).all()


@pytest.mark.skipif(library() is None, reason="no compiler was found: only the reference exists here")
def test_a_body_agrees_with_the_search_without_a_compiler() -> None:
    body = load_body()
    vertices, faces = torch.tensor(body.vertices), torch.tensor(body.faces)
    generator = torch.Generator().manual_seed(0)
    points = vertices[torch.randint(0, len(vertices), (3000,), generator=generator)]
    points = points + 0.02 * torch.randn(3000, 3, generator=generator)
    one, two = TriangleBVH(vertices, faces).closest(points), without_compiler(vertices, faces).closest(points)
    torch.testing.assert_close(one[0].sqrt(), two[0].sqrt(), atol=1e-6, rtol=0)


@pytest.mark.parametrize("make", [TriangleBVH, without_compiler])
def test_what_is_no_number_is_infinitely_far(make) -> None:
    points = torch.tensor([[float("nan"), 0, 0], [0.5, 0.5, 0.5], [float("inf"), 0, 0]])
    distance2, face, _ = make(*soup(20, 3)).closest(points)
    assert torch.isinf(distance2[0]) and face[0] == 0
    assert torch.isfinite(distance2[1])
    assert make(*soup(20, 3)).closest(points[:0])[0].numel() == 0


@pytest.mark.parametrize("make", [TriangleBVH, without_compiler])
def test_gradients_are_those_of_brute_force(make) -> None:
    """Of the squared distance and of the place, with respect to points and vertices: inside of faces, on edges, at
    corners."""
    vertices, triangles = soup(40, 7)
    points = torch.rand(300, 3, generator=torch.Generator().manual_seed(1)) * 3 - 1
    weight = torch.randn(300, 4, generator=torch.Generator().manual_seed(2))

    def gradients(search, dtype: torch.dtype) -> tuple[torch.Tensor, ...]:
        v, p = vertices.to(dtype).requires_grad_(), points.to(dtype).requires_grad_()
        distance2, face, bary = search(v, p)
        place = (v[triangles[face]] * bary[..., None]).sum(1)
        loss = (torch.cat([distance2[:, None], place], 1) * weight).sum()
        return torch.autograd.grad(loss, (p, v))

    found = gradients(lambda v, p: make(v, triangles).closest(p), torch.float32)
    wanted = gradients(lambda v, p: closest_of(p[:, None], v[triangles][None]), torch.float64)
    for one, two in zip(found, wanted, strict=True):
        torch.testing.assert_close(one, two.float(), atol=1e-3, rtol=1e-3)


def test_a_lost_point_has_no_gradient() -> None:
    vertices, triangles = soup(20, 3)
    points = torch.tensor([[float("nan"), 0, 0], [0.5, 0.5, 2], [0, 0, 9]], requires_grad=True)
    distance2, _, bary = TriangleBVH(vertices.requires_grad_(), triangles).closest(points, reach=5)
    assert torch.isinf(distance2[[0, 2]]).all()
    for gradient in torch.autograd.grad(distance2[1] + bary.sum(), (points, vertices)):
        assert torch.isfinite(gradient).all()


def test_a_point_has_one_answer_whatever_the_others_and_the_threads(monkeypatch) -> None:
    """On corners and edges too, where several faces are equally near."""
    body = load_body()
    vertices, faces = torch.tensor(body.vertices), torch.tensor(body.faces)
    points = torch.cat([vertices, vertices[faces[:, :2]].mean(1)])
    mesh = TriangleBVH(vertices, faces)
    order = torch.randperm(len(points), generator=torch.Generator().manual_seed(0))
    for one, other in zip(mesh.closest(points), mesh.closest(points[order]), strict=True):
        assert torch.equal(one[order], other)
    monkeypatch.setattr("avatar_core.cuda.threads.thread_count", lambda: 1)
    for one, other in zip(mesh.closest(points[order]), mesh.closest(points), strict=True):
        assert torch.equal(one, other[order])


@pytest.mark.parametrize(
    "vertices, faces, words",
    [
        (torch.zeros(3, 2), torch.zeros(1, 3, dtype=torch.long), "vertices must be"),
        (torch.zeros(3, 3), torch.zeros(0, 3, dtype=torch.long), "faces must be"),
        (torch.zeros(3, 3), torch.full((1, 3), 3), "outside"),
        (torch.full((3, 3), float("nan")), torch.zeros(1, 3, dtype=torch.long), "finite"),
        (torch.zeros(3, 3, dtype=torch.float64), torch.zeros(1, 3, dtype=torch.long), "float32"),
    ],
)
def test_wrong_meshes_are_said(vertices: torch.Tensor, faces: torch.Tensor, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        TriangleBVH(vertices, faces)
