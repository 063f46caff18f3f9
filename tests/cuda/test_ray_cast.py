"""Rays, refitted trees and signed distances: native equals the reference, and geometry that is known."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from avatar_core.body import load_body
from avatar_core.cuda.closest_point import TriangleBVH, closest_of
from avatar_core.cuda.ray_cast import cast_rays, cast_rays_reference
from avatar_core.cuda.signed_distance import PseudoNormals, signed_distance

FACES = torch.arange(6000).view(-1, 3)


def soup(faces: int, seed: int) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    vertices = torch.rand(faces + 2, 3, generator=generator)
    return vertices, torch.randint(0, faces + 2, (faces, 3), generator=generator)  # degenerate ones among them


def random_rays(count: int, seed: int) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return tuple(torch.randn(count, 3, generator=generator) * scale for scale in (2.0, 1.0))  # type: ignore[return-value]


def cube() -> tuple[Tensor, Tensor]:
    """Side 2 around the origin, closed, faces outwards."""
    vertices = torch.tensor([[x, y, z] for x in (-1.0, 1) for y in (-1.0, 1) for z in (-1.0, 1)])
    quads = [(0, 1, 3, 2), (4, 6, 7, 5), (0, 4, 5, 1), (2, 3, 7, 6), (0, 2, 6, 4), (1, 5, 7, 3)]
    faces = [face for a, b, c, d in quads for face in ((a, b, c), (a, c, d))]
    return vertices, torch.tensor(faces)


@pytest.mark.parametrize("faces", [1, 2, 9, 300, 2000])
def test_rays_agree_with_all_pairs(faces: int) -> None:
    mesh = TriangleBVH(*soup(faces, faces))
    rays = random_rays(400, 1)
    found, wanted = cast_rays(mesh, *rays), cast_rays_reference(mesh, *(part.double() for part in rays))
    clear = (torch.isinf(found.t) == torch.isinf(wanted.t)).float().mean()
    assert clear > 0.995  # an edge hit or missed by rounding
    both = (found.face >= 0) & (wanted.face >= 0)
    torch.testing.assert_close(found.t[both], wanted.t[both].float(), atol=1e-3, rtol=1e-3)
    assert (found.face == wanted.face)[both].float().mean() > 0.99 if both.any() else True
    hit = rays[0] + found.t[:, None] * rays[1]
    place = (mesh.vertices[mesh.faces[found.face.clamp(min=0)]] * found.bary[..., None]).sum(1)
    seen = found.face >= 0
    torch.testing.assert_close(hit[seen], place[seen], atol=2e-3, rtol=1e-3)


def test_near_far_and_both_sides() -> None:
    mesh = TriangleBVH(*cube())
    origins = torch.tensor([[0.1, 0.2, 5.0]]).expand(4, 3)
    down = torch.tensor([[0.0, 0, -1]]).expand(4, 3)
    assert cast_rays(mesh, origins, down).t[0] == pytest.approx(4)
    assert cast_rays(mesh, origins, down, near=4.5).t[0] == pytest.approx(6)  # the far wall, from within
    assert torch.isinf(cast_rays(mesh, origins, down, near=4.5, far=5.5).t).all()
    assert cast_rays(mesh, origins, 2 * down).t[0] == pytest.approx(2)  # in lengths of the direction
    assert (cast_rays(mesh, origins, -down).face == -1).all()


def test_no_ray_slips_between_two_faces() -> None:
    """From within a closed ball, rays through every corner, through the middle of every edge, and anywhere, all hit."""
    vertices, faces = cube()
    corners = vertices[faces]
    for _ in range(5):
        a, b, c = corners.unbind(1)
        ab, bc, ca = (a + b) / 2, (b + c) / 2, (c + a) / 2
        quarters = ((a, ab, ca), (ab, b, bc), (ca, bc, c), (ab, bc, ca))
        corners = torch.cat([torch.stack(part, 1) for part in quarters])
    corners = corners / corners.norm(dim=2, keepdim=True)
    mesh = TriangleBVH(corners.reshape(-1, 3), torch.arange(3 * len(corners)).view(-1, 3))
    anywhere = torch.randn(50000, 3, generator=torch.Generator().manual_seed(4))
    targets = torch.cat([corners.reshape(-1, 3), (corners + corners.roll(1, 1)).reshape(-1, 3) / 2, anywhere])
    origin = torch.tensor([0.1, -0.2, 0.3])
    hits = cast_rays(mesh, origin.expand_as(targets), targets - origin)
    assert (hits.face >= 0).all()


def test_a_ray_along_a_wall_meets_what_all_pairs_meet() -> None:
    """From the plane of a cube's side, parallel to it: on either side of the tree's boxes."""
    mesh = TriangleBVH(*cube())
    origins = torch.tensor([[1.0, 0.2, 5], [-1, 0.2, 5], [0.3, 1, 5], [0.3, -1, 5]])
    directions = torch.tensor([[0.0, 0, -1]]).expand(4, 3)
    found, wanted = cast_rays(mesh, origins, directions), cast_rays_reference(mesh, origins, directions)
    torch.testing.assert_close(found.t, wanted.t)
    assert (found.t == 4).all()


def bundle(kind: str) -> tuple[Tensor, Tensor]:
    """1024 rays that have something in common with their neighbours."""
    y, x = torch.meshgrid(torch.linspace(-1.3, 1.3, 8), torch.linspace(-1.3, 1.3, 128), indexing="ij")
    plane = torch.stack([x, y, torch.zeros_like(x)], 2).view(-1, 3)
    towards = torch.tensor([0.0, 0, -1]).expand(1024, 3)
    if kind == "parallel":  # along an axis
        return plane + torch.tensor([0.5, 0.5, 3]), towards.contiguous()
    if kind == "oblique":
        return plane + torch.tensor([0.5, 0.5, 3]), towards + torch.tensor([0.2, -0.1, 0])
    if kind == "within":  # all around
        return torch.full((1024, 3), 0.5), random_rays(1024, 0)[1]
    picture = torch.tensor([[0.5, 0.5, 4.0]]).expand(1024, 3).contiguous(), plane + 3 * towards
    if kind == "spoilt":
        picture[0][40], picture[1][100], picture[1][200], picture[0][300] = torch.nan, 0, torch.inf, 1e38
    return picture


@pytest.mark.parametrize("near", [0.0, 1.2])
@pytest.mark.parametrize("kind", ["picture", "parallel", "oblique", "within", "spoilt"])
def test_rays_hit_the_same_together_and_alone(kind: str, near: float) -> None:
    mesh = TriangleBVH(*soup(2000, 8))
    mesh = TriangleBVH(mesh.vertices[mesh.faces].mul(0.1).add(mesh.vertices[mesh.faces[:, :1]]).flatten(0, 1), FACES)
    origins, directions = bundle(kind)
    together = cast_rays(mesh, origins, directions, near)
    alone = [cast_rays(mesh, *rays, near) for rays in zip(origins.split(7), directions.split(7))]
    for one, parts in zip(together, zip(*alone)):
        assert torch.equal(one, torch.cat(parts))
    assert 0 < int((together.face >= 0).sum()) < 1024


@pytest.mark.parametrize("kind", ["origins", "directions"])
def test_rays_that_are_none_hit_nothing(kind: str) -> None:
    mesh = TriangleBVH(*cube())
    bad = torch.tensor([[torch.nan, 0, 0], [torch.inf, 0, 0], [0, -torch.inf, torch.nan], [0, 0, 0]])
    good = torch.tensor([[0.0, 0, -1]]).expand(4, 3)
    hits = cast_rays(mesh, bad, good) if kind == "origins" else cast_rays(mesh, good * 5, bad)
    assert (hits.face[: 3 if kind == "origins" else 4] == -1).all()
    assert cast_rays(mesh, bad[:0], bad[:0]).t.numel() == 0
    strided = torch.zeros(2, 6)[:, ::2]
    assert cast_rays(mesh, strided, good[:2]).t.tolist() == pytest.approx([1, 1])
    for wrong in (good.double(), good[:, :2], good[:2]):
        with pytest.raises(ValueError, match="must be"):
            cast_rays(mesh, wrong, good)


def test_a_refitted_tree_is_as_good_as_a_new_one() -> None:
    vertices, faces = soup(500, 5)
    moved = vertices * torch.tensor([2.0, 0.5, 1.0]) + 0.3 * torch.sin(9 * vertices.roll(1, 1))
    mesh, new = TriangleBVH(vertices, faces), TriangleBVH(moved, faces)
    points = torch.rand(500, 3, generator=torch.Generator().manual_seed(2)) * 3 - 1
    before, copied = mesh.closest(points)[0], mesh.moved(moved)
    torch.testing.assert_close(mesh.closest(points)[0], before, atol=0, rtol=0)  # a copy leaves it alone
    mesh.refit(moved)
    for other in (mesh, copied):
        torch.testing.assert_close(other.closest(points)[0], new.closest(points)[0], atol=1e-6, rtol=1e-5)
    rays = random_rays(500, 3)
    torch.testing.assert_close(cast_rays(mesh, *rays).t, cast_rays(new, *rays).t, atol=1e-5, rtol=1e-5)
    for wrong in (moved[:5], moved.double(), torch.full_like(moved, torch.nan)):
        with pytest.raises(ValueError, match="vertices must be"):
            mesh.refit(wrong)


@pytest.mark.parametrize("shape", ["point", "line", "plane"])
def test_a_mesh_may_collapse_and_come_back(shape: str) -> None:
    """What is refitted to less than a volume still answers, exactly, and nothing of it stays behind."""
    vertices, faces = soup(300, 6)
    flat = vertices * torch.tensor({"point": [0.0, 0, 0], "line": [1.0, 0, 0], "plane": [1.0, 0, 1]}[shape]) + 0.25
    points = torch.rand(300, 3, generator=torch.Generator().manual_seed(2)) * 3 - 1
    mesh = TriangleBVH(vertices, faces)
    before = mesh.closest(points)
    mesh.refit(flat)
    exact = closest_of(points[:, None].double(), flat[faces].double()[None])[0]
    torch.testing.assert_close(mesh.closest(points)[0].sqrt(), exact.sqrt().float(), atol=1e-5, rtol=1e-5)
    rays = random_rays(300, 3)
    found, wanted = cast_rays(mesh, *rays), cast_rays_reference(mesh, *rays)
    assert (torch.isinf(found.t) == torch.isinf(wanted.t)).float().mean() > 0.98
    for wrong in (torch.nan, torch.inf):
        with pytest.raises(ValueError, match="finite"):
            mesh.refit(torch.where(torch.arange(len(flat))[:, None] == 7, wrong, flat))
    torch.testing.assert_close(mesh.closest(points)[0].sqrt(), exact.sqrt().float(), atol=1e-5, rtol=1e-5)
    mesh.refit(vertices)
    for one, other in zip(mesh.closest(points), before, strict=True):
        assert torch.equal(one, other)


def test_signed_distance_of_a_cube() -> None:
    """Inside, outside, and beside edges and corners, where a single face's normal gives the wrong side."""
    vertices, faces = cube()
    mesh, normals = TriangleBVH(vertices, faces), PseudoNormals(vertices, faces)
    points = 4 * torch.rand(4000, 3, generator=torch.Generator().manual_seed(0)) - 2
    outside = (points.abs() - 1).clamp(min=0).norm(dim=1)
    wanted = outside + (points.abs() - 1).amax(1).clamp(max=0)
    points.requires_grad_()
    found = signed_distance(mesh, normals, points)
    torch.testing.assert_close(found.detach(), wanted.detach(), atol=1e-5, rtol=1e-5)
    (gradient,) = torch.autograd.grad(found.sum(), points)
    ahead = signed_distance(mesh, normals, (points + 1e-3 * gradient).detach())
    away = wanted.abs() > 0.01  # not across the surface, and not across the cube's middle planes
    grown = ((ahead - found.detach()) / 1e-3 - 1).abs() < 0.05
    assert grown[away].float().mean() > 0.98
    lost = torch.tensor([[torch.nan, 0, 0], [0, 0, 3]], requires_grad=True)
    far = signed_distance(mesh, normals, lost)
    assert torch.isinf(far[0]) and float(far[1].detach()) == pytest.approx(2)
    (gradient,) = torch.autograd.grad(far[1], lost)
    assert torch.equal(gradient[1], torch.tensor([0.0, 0, 1]))


@pytest.mark.parametrize("case", ["open", "flat", "soup"])
def test_signed_distance_of_what_is_not_closed_is_the_distance_with_a_side(case: str) -> None:
    vertices, faces = cube()
    if case == "open":
        faces = faces[:10]  # without a side
    elif case == "flat":
        vertices = vertices * torch.tensor([1.0, 0, 1])
    else:
        vertices, faces = soup(200, 8)
    vertices = vertices.clone().requires_grad_()
    points = (4 * torch.rand(500, 3, generator=torch.Generator().manual_seed(0)) - 2).requires_grad_()
    mesh = TriangleBVH(vertices, faces)
    found = signed_distance(mesh, PseudoNormals(vertices.detach(), faces), points)
    torch.testing.assert_close(found.abs(), mesh.closest(points)[0].sqrt(), atol=1e-5, rtol=1e-4)
    on_points, on_vertices = torch.autograd.grad(found.sum(), (points, vertices))
    away = found.detach().abs() > 1e-3
    torch.testing.assert_close(on_points[away].norm(dim=1), torch.ones(int(away.sum())), atol=1e-3, rtol=0)
    # moving points and mesh together changes nothing
    torch.testing.assert_close(on_points.sum(0), -on_vertices.sum(0), atol=1e-3, rtol=1e-4)


def test_inside_of_the_body_is_negative() -> None:
    """A point is inside where a ray from it crosses the surface an odd number of times; the template's eyes and teeth
    lie within it, so points under the skin of the limbs are asked."""
    body = load_body()
    vertices, faces = torch.tensor(body.vertices), torch.tensor(body.faces)
    normals = PseudoNormals(vertices, faces)
    limbs = torch.tensor(body.weights[:, [1, 2, 4, 5, 16, 17, 18, 19]].sum(1) > 0.9)
    mesh = TriangleBVH(vertices, faces)
    for depth, sign in ((0.004, 1.0), (-0.004, -1.0)):
        found = signed_distance(mesh, normals, vertices[limbs] + depth * normals.corner[limbs])
        assert (torch.sign(found) == sign).float().mean() > 0.99


@pytest.mark.gpu
def test_cuda_equals_native() -> None:
    if not torch.cuda.is_available():
        pytest.skip("there is no GPU")
    mesh = TriangleBVH(*soup(500, 5))
    rays = random_rays(2000, 3)
    for one, two in zip(cast_rays(mesh, *rays), cast_rays(mesh, *(part.cuda() for part in rays))):
        torch.testing.assert_close(one, two.cpu(), atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(mesh.closest(rays[0])[0], mesh.closest(rays[0].cuda())[0].cpu(), atol=1e-6, rtol=1e-5)
